"""Starts the processes of one platform, starts again what dies, and ends all of them together."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from terang.serve.child import REFUSED
from terang.serve.launch import launch
from terang.values.errors import TerangError

__all__ = ["Child", "Supervisor"]

_SPAWN = multiprocessing.get_context("spawn")
_STOP_S = 25.0
_HEALTHY_S = 10.0
_FIRST_MINUTE_S = 60.0


@dataclass(slots=True)
class Child:
    """One process: the function `main`, written module:function, with `arguments`. One that fails soon after its first
    start is not started again: it has said why, and it would only say it again.
    """

    name: str
    main: str
    arguments: tuple[Any, ...]
    process: BaseProcess | None = None
    started_s: float = 0.0
    restarts: int = 0
    again_s: float = field(default=0.0)

    def start(self) -> None:
        """Start it, or start it again."""
        self.process = _SPAWN.Process(target=launch, args=(self.main, *self.arguments), name=f"terang-{self.name}")
        # An interrupt from the keyboard reaches every process of the terminal. It is the supervisor's alone: the others
        # are ended in their order, and their children take what they ignore from them.
        kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.process.start()
        finally:
            signal.signal(signal.SIGINT, kept)
        self.started_s = time.monotonic()


class Supervisor:
    """Children in the order in which they are started; they are ended in the opposite order."""

    def __init__(self, children: list[Child]) -> None:
        self.children = children
        self._stopping = False

    def start(self) -> None:
        """Start all of them, and end on SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        for child in self.children:
            child.start()

    def run(self) -> None:
        """Keep them running until a signal comes, then end them; TerangError if one cannot even start."""
        try:
            self.watch()
        finally:
            self.stop()

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Keep them running until `until` says so or a signal comes."""
        while not self._stopping and not until():
            self.look()
            time.sleep(0.1)

    def look(self) -> None:
        """Start again what has died."""
        for child in self.children:
            if not self._stopping:
                self._look_after(child)

    def end(self, name: str) -> None:
        """End one of them for good, giving it time to finish."""
        for child in [child for child in self.children if child.name == name]:
            self.children.remove(child)
            _end(child)

    def stop(self) -> None:
        """End all of them; kill what does not end by itself."""
        self._stopping = True
        for child in reversed(self.children):
            _end(child)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._stopping = True

    def _look_after(self, child: Child) -> None:
        process, now_s = child.process, time.monotonic()
        if process is None:
            if now_s >= child.again_s:
                child.start()
            return
        if process.is_alive():
            return
        lived_s = now_s - child.started_s
        if process.exitcode == REFUSED and child.restarts == 0 and lived_s < _FIRST_MINUTE_S:
            raise TerangError(f"the {child.name} process could not start; what it said is above")
        child.restarts += 1
        child.process = None
        child.again_s = now_s + (0.0 if lived_s > _HEALTHY_S else min(0.2 * 2 ** min(child.restarts, 6), 10.0))


def _end(child: Child) -> None:
    process = child.process
    if process is None or not process.is_alive():
        return
    process.terminate()
    process.join(_STOP_S)
    if process.is_alive():
        process.kill()
        process.join()
