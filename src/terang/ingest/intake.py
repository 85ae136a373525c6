"""Brings envelopes from the broker to the pipeline in groups, and receipts back to the devices.

While one group is being committed the next gathers: commits grow with the load. A message is acknowledged only after
its commit; while the store cannot write, nothing is acknowledged and the broker keeps it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from terang.ingest.packets import Publish
from terang.ingest.receipts import EpochState, Receipts
from terang.ingest.session import BrokerAddress, Session
from terang.values.clock import Clock
from terang.values.errors import BrokerError, StoreError

__all__ = ["UP_TOPICS", "Arrived", "Intake", "Taken", "down_topic"]

UP_TOPICS = ["terang/v1/+/up"]
_Opened = TypeVar("_Opened")
_GROUP_LIMIT = 4000
_BACKLOG_LIMIT = 40_000
_BACKLOG_BYTES = 64 << 20
_RETRY_S = 0.5
_RECEIPT_S = 0.2

_log = logging.getLogger(__name__)


class Arrived(NamedTuple):
    """Bytes of one message, where from and when."""

    data: bytes
    topic: str
    received_ms: int


class Taken(Protocol):
    """What the pipeline says of a group: the state of every epoch that it touched, by (device, epoch)."""

    @property
    def epochs(self) -> Mapping[tuple[bytes, bytes], EpochState]:
        """By (device, epoch)."""
        ...




def down_topic(device: bytes) -> str:
    """Where a device listens."""
    return f"terang/v1/{device.hex()}/down"


class _Group(NamedTuple):
    messages: list[tuple[Publish, Session]]
    arrived: list[Arrived]


class Intake(Generic[_Opened]):
    """Keeps a connection to the broker and works until it is cancelled.

    `open_group` checks the signatures of a group while the one before is committed by `accept`; `receipts` says what
    devices are told.
    """

    def __init__(
        self,
        *,
        address: BrokerAddress,
        open_group: Callable[[list[Arrived]], Awaitable[_Opened]],
        accept: Callable[[list[Arrived], _Opened], Awaitable[Taken]],
        receipts: Receipts,
        clock: Clock,
    ) -> None:
        self._address = address
        self._open = open_group
        self._accept = accept
        self._receipts = receipts
        self._clock = clock
        self._inbox: list[tuple[Publish, Session]] = []
        self._inbox_bytes = 0
        self._arrived = asyncio.Event()
        # two groups on their way to the writer: one whose signatures are checked while the other is taken apart
        self._opening: asyncio.Queue[tuple[_Group, asyncio.Future[_Opened]]] = asyncio.Queue(2)
        self._session: Session | None = None
        self._paused = False
        self.state = "connecting"

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_connected())
            tasks.create_task(self._keep_opening())
            tasks.create_task(self._keep_committing())
            tasks.create_task(self._keep_receipting())

    def note(self, epochs: Mapping[tuple[bytes, bytes], EpochState]) -> None:
        """More of these epochs is anchored now: tell their devices soon."""
        self._receipts.note(epochs, self._clock.monotonic_ms())

    async def _keep_connected(self) -> None:
        while True:
            try:
                self._session = await Session.open(self._address, UP_TOPICS, self._take)
            except BrokerError as error:
                self._tell(str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            self._tell("connected")
            self._paused = False
            try:
                await asyncio.shield(self._session.closed)
            finally:
                self._session.close()
                self._session = None
            self._tell("the connection to the broker ended; connecting again")

    def _tell(self, state: str) -> None:
        if state != self.state:
            self.state = state
            _log.info("broker: %s", state)

    def _take(self, session: Session, messages: list[Publish]) -> None:
        self._inbox += [(message, session) for message in messages]
        self._inbox_bytes += sum([len(message.payload) for message in messages])
        self._arrived.set()
        if not self._paused and (len(self._inbox) > _BACKLOG_LIMIT or self._inbox_bytes > _BACKLOG_BYTES):
            self._paused = True
            session.pause()

    async def _keep_opening(self) -> None:
        while True:
            await self._arrived.wait()
            group = self._next_group()
            await self._opening.put((group, asyncio.ensure_future(self._open(group.arrived))))

    async def _keep_committing(self) -> None:
        while True:
            group, opening = await self._opening.get()
            await self._commit(group, await opening)

    def _next_group(self) -> _Group:
        group, self._inbox = self._inbox[:_GROUP_LIMIT], self._inbox[_GROUP_LIMIT:]
        if not self._inbox:
            self._arrived.clear()
        self._inbox_bytes -= sum([len(message.payload) for message, _ in group])
        is_half_empty = len(self._inbox) <= _BACKLOG_LIMIT // 2 and self._inbox_bytes <= _BACKLOG_BYTES // 2
        if self._paused and is_half_empty and self._session is not None:
            self._paused = False
            self._session.resume()
        now_ms = self._clock.now_ms()
        return _Group(group, [Arrived(message.payload, message.topic, now_ms) for message, _ in group])

    async def _commit(self, group: _Group, opened: _Opened) -> None:
        taken = await self._accept_at_last(group.arrived, opened)
        # an id belongs to the connection it came on; on one that is gone nothing is written, and the broker sends again
        for session in {on for _, on in group.messages}:
            session.acknowledge([message.packet_id for message, on in group.messages if on is session])
        self.note(taken.epochs)

    async def _accept_at_last(self, arrived: list[Arrived], opened: _Opened) -> Taken:
        while True:
            try:
                taken = await self._accept(arrived, opened)
            except StoreError as error:
                self._tell(f"waiting for the store: {error}")
                await asyncio.sleep(_RETRY_S)
                continue
            if self.state.startswith("waiting") and self._session is not None:
                self._tell("connected")
            return taken

    async def _keep_receipting(self) -> None:
        while True:
            await asyncio.sleep(_RECEIPT_S)
            session = self._session
            if session is not None:
                for device, message in self._receipts.due(self._clock.monotonic_ms()):
                    session.send(down_topic(device), message)
