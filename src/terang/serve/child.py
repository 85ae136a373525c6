"""What every child process does first.

A child must not outlive its parent: whoever kills the parent with -9 has killed the house.
"""

import gc
import logging
import multiprocessing
import os
import threading
from multiprocessing.connection import wait

__all__ = ["REFUSED", "end_with_parent", "spare_the_collector", "speak_as"]

REFUSED = 78
"""Exit code of a child that has said why it cannot work; started again it would only say it again (EX_CONFIG)."""


def end_with_parent() -> None:
    """End this process at once when its parent is gone. Nothing is tidied up: all that counts is durable already."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(70)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def spare_the_collector() -> None:
    """Look for garbage in cycles rarely: these processes make millions of small tuples a minute and hardly any cycle,
    and looking through them all took a tenth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def speak_as(name: str) -> None:
    """Log to standard error under this name: what Terang says, and only warnings of the libraries."""
    logging.basicConfig(level=logging.WARNING, format=f"{name}: %(message)s")
    logging.getLogger("terang").setLevel(logging.INFO)
