"""Live values: one listener on the core for the whole process, fanned out to every open page as server-sent events.

A page that does not keep up is dropped, not waited for: its browser connects again and loads the state anew. A tenant's
page gets the own meters only.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import msgspec

from terang.values.command import Anchored, Live
from terang.web.core import CoreClient, Linked

__all__ = ["LiveHub", "Subscription", "TooManyClients"]

_QUEUE_LENGTH = 64
_WATCH_EVERY_S = 20.0
_JSON = msgspec.json.Encoder()
_END = b""


class TooManyClients(Exception):
    """No more live pages can be served, or not to this person."""


def _event(name: str, body: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + body + b"\n\n"


class Subscription:
    """One open page. `meters` are those it may see, None for all."""

    def __init__(self, user_name: str, meters: frozenset[int] | None) -> None:
        self.user_name = user_name
        self.meters = meters
        self.dropped = False
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(_QUEUE_LENGTH)

    def offer(self, event: bytes) -> bool:
        """Queue an event; False once the page has fallen too far behind."""
        if self.dropped:
            return False
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped = True
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(_END)
            return False
        return True


class LiveHub:
    """Listens once, tells all: `run` is the listening, `stream` what one page receives."""

    def __init__(self, core: CoreClient, *, clients_max: int, per_user: int, heartbeat_s: float) -> None:
        self._core = core
        self._clients_max = clients_max
        self._per_user = per_user
        self._heartbeat_s = heartbeat_s
        self._open: set[Subscription] = set()
        self._anchored: Anchored | None = None
        self._watch_from_s = 0.0

    def __len__(self) -> int:
        return len(self._open)

    async def run(self) -> None:
        """Fan out for ever; cancel to stop."""
        async for message in self._core.listen():
            self.publish(message)

    def end(self) -> None:
        """End every stream: the process stops."""
        for subscription in self._open:
            subscription.offer(_END)

    def publish(self, message: Live | Anchored | Linked) -> None:
        """Give one message to every page that may see it."""
        if isinstance(message, Live):
            whole = _event("live", _JSON.encode({"readings": message.readings}))
            self._offer(lambda one: whole if one.meters is None else _own(message, one.meters))
            return
        if isinstance(message, Anchored):
            self._anchored = message
            event = _event("anchored", _JSON.encode(message))
        else:
            event = _event("core", _JSON.encode({"up": message.up}))
        self._offer(lambda _: event)

    def _offer(self, make: Callable[[Subscription], bytes | None]) -> None:
        for subscription in tuple(self._open):
            event = make(subscription)
            if event is not None and not subscription.offer(event):
                self._open.discard(subscription)

    def subscribe(self, user_name: str, meters: frozenset[int] | None) -> Subscription:
        """Open a stream; TooManyClients beyond the limits. Whoever opens it must read or `close` it."""
        if len(self._open) >= self._clients_max:
            raise TooManyClients
        if sum(one.user_name == user_name for one in self._open) >= self._per_user:
            raise TooManyClients
        subscription = Subscription(user_name, meters)
        subscription.offer(_event("core", _JSON.encode({"up": self._core.up})))
        if self._anchored is not None:
            subscription.offer(_event("anchored", _JSON.encode(self._anchored)))
        self._open.add(subscription)
        return subscription

    def may_watch(self) -> bool:
        """Whether to tell the core again that proofs are looked at: once in 20 s is enough for its minute."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._watch_from_s:
            return False
        self._watch_from_s = now_s + _WATCH_EVERY_S
        return True

    def close(self, subscription: Subscription) -> None:
        """Nothing more for this page."""
        self._open.discard(subscription)

    async def stream(self, subscription: Subscription, still: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """The page's events; every heartbeat `still` is asked whether the person may go on looking."""
        loop = asyncio.get_running_loop()
        try:
            yield b"retry: 2000\n\n"
            check_at = loop.time() + self._heartbeat_s
            while True:
                event: bytes | None = None
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(check_at):
                        event = await subscription.queue.get()
                if event is None:
                    if not await still():
                        yield _event("end", b"{}")
                        return
                    check_at = loop.time() + self._heartbeat_s
                    yield b": still here\n\n"
                elif event == _END:
                    return
                else:
                    yield event
        finally:
            self.close(subscription)


def _own(message: Live, meters: frozenset[int]) -> bytes | None:
    readings = [reading for reading in message.readings if reading.meter in meters]
    return _event("live", _JSON.encode({"readings": readings})) if readings else None
