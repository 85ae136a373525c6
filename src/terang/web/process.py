"""The web process: serves until it is told to stop or until the process that started it is gone."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server

from terang.page.cards import KitPages
from terang.reader import Source
from terang.web.core import CoreClient
from terang.web.server import create_app
from terang.web.settings import WebSettings

__all__ = ["run_web"]

_PARENT_EVERY_S = 0.5


def run_web(
    settings: WebSettings,
    source_factory: Callable[[], Source],
    core_socket_path: Path,
    kits: tuple[KitPages, ...],
    *,
    parent_pid: int | None = None,
) -> None:
    """Serve the pages; the process ends on SIGTERM, or when `parent_pid` (else today's parent) is gone.

    `source_factory` is called here, in the process that will use what it makes.
    """
    parent = parent_pid if parent_pid is not None else os.getppid()
    asyncio.run(_serve(settings, source_factory(), core_socket_path, kits, parent))
    # The server's own threads may still run, and abort with a message when the interpreter is taken from under them.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _serve(
    settings: WebSettings, source: Source, core_socket_path: Path, kits: tuple[KitPages, ...], parent: int
) -> None:
    app = create_app(settings, source, CoreClient(core_socket_path), kits=kits)
    server = Server(
        app,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        websockets=False,
        backlog=1024,
        log_enabled=False,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    serving = asyncio.create_task(server.serve())
    watching = asyncio.create_task(_until_orphaned(parent))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
    app.state["parts"].live.end()  # the server waits for every open stream, and a stream ends only with its page
    server.stop()  # type: ignore[no-untyped-call]
    watching.cancel()
    stopping.cancel()
    with suppress(TimeoutError):
        await asyncio.wait_for(serving, timeout=5)


async def _until_orphaned(parent: int) -> None:
    # Nothing tells a process that its parent died but its parent's number.
    while os.getppid() == parent:  # noqa: ASYNC110
        await asyncio.sleep(_PARENT_EVERY_S)
