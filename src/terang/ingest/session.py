"""One MQTT connection of the platform: takes envelopes at QoS 1, acknowledges after commit, sends receipts at QoS 0.

Receipts need no guarantee of the broker's: a device that misses one learns the same from the next.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from terang.ingest import packets
from terang.values.errors import BrokerError

__all__ = ["BrokerAddress", "Session", "Taker"]

_T = TypeVar("_T")
_KEEPALIVE_S = 30
_ANSWER_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where the broker is, and the platform's login there."""

    host: str
    port: int
    username: str = ""
    password: str = ""
    client_id: str = "terang-core"


class Taker(Protocol):
    """Who takes messages as they arrive; called in the event loop and must not block."""

    def __call__(self, session: "Session", messages: list[packets.Publish]) -> None:
        """These came on this connection, where they have to be acknowledged."""
        ...


class Session(asyncio.Protocol):
    """A connection. `is_up` once the broker lets it read; `closed` ends when it is gone."""

    def __init__(self, take: Taker) -> None:
        self._take = take
        self._parser = packets.Parser()
        self._transport: asyncio.Transport | None = None
        self.is_up = False
        self._was_heard = True
        loop = asyncio.get_running_loop()
        self._welcome: asyncio.Future[packets.Connack] = loop.create_future()
        self._granted: asyncio.Future[packets.Suback] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    @classmethod
    async def open(cls, address: BrokerAddress, topics: list[str], take: Taker) -> "Session":
        """Connect with the persistent session and subscribe; BrokerError where that fails."""
        loop = asyncio.get_running_loop()
        where = f"{address.host}:{address.port}"
        session: Session | None = None
        try:
            async with asyncio.timeout(_ANSWER_S):
                _, session = await loop.create_connection(lambda: cls(take), address.host, address.port)
                await session.log_in(address, topics)
        except (OSError, TimeoutError) as error:
            why = str(error) or "it does not answer"
            raise BrokerError(f"the broker at {where} cannot be reached: {why}") from error
        finally:
            if session is not None and not session.is_up:
                session.close()  # or every new try would leave a connection behind
        return session

    async def log_in(self, address: BrokerAddress, topics: list[str]) -> None:
        """Say who we are and subscribe; BrokerError where the broker refuses."""
        self._write(
            packets.connect(
                client_id=address.client_id,
                username=address.username,
                password=address.password,
                keepalive_s=_KEEPALIVE_S,
                clean=False,
            )
        )
        welcome = await self._welcome
        if welcome.code:
            raise BrokerError(f"the broker refused the platform's login (code {welcome.code}); check its credentials")
        self._write(packets.subscribe(1, topics))
        granted = await self._granted
        if any(code > 2 for code in granted.codes):
            raise BrokerError("the broker does not let the platform read the devices' topics; check its ACL")
        self.is_up = True
        asyncio.get_running_loop().call_later(_KEEPALIVE_S / 2, self._ping)

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Tell the broker that these messages are committed."""
        acks = b"".join([packets.puback(packet_id) for packet_id in packet_ids if packet_id])
        if acks:
            self._write(acks)

    def send(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0."""
        self._write(packets.publish(topic, payload))

    def close(self) -> None:
        """Say goodbye and close."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packets.disconnect())
            self._transport.close()

    def pause(self) -> None:
        """Take no more bytes for now; the broker keeps what it has."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Take bytes again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _ping(self) -> None:
        if self.closed.done() or self._transport is None:
            return
        if not self._was_heard and self._transport.is_reading():
            self._transport.abort()  # not even the last ping was answered: the broker's machine is gone
        else:
            self._was_heard = not self._transport.is_reading()  # an answer that is not read yet is no silence
            self._write(packets.PINGREQ)
            asyncio.get_running_loop().call_later(_KEEPALIVE_S / 2, self._ping)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is up."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's streams do not inherit asyncio's

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        self._was_heard = True
        messages: list[packets.Publish] = []
        try:
            for packet in self._parser.feed(data):
                if type(packet) is packets.Publish:
                    messages.append(packet)
                elif type(packet) is packets.Connack:
                    _answer(self._welcome, packet)
                elif type(packet) is packets.Suback:
                    _answer(self._granted, packet)
        except BrokerError:
            if self._transport is not None:
                self._transport.abort()
            return
        if messages:
            self._take(self, messages)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone."""
        gone = BrokerError(f"the connection to the broker ended: {exc or 'the broker closed it'}")
        for waiting in (self._welcome, self._granted):
            if not waiting.done():
                waiting.set_exception(gone)
                waiting.exception()  # it may be nobody waits any more
        _answer(self.closed, None)


def _answer(future: "asyncio.Future[_T]", value: _T) -> None:
    if not future.done():
        future.set_result(value)


