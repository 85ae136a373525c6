"""Between a broker that lies and a store that fails: everything is committed exactly once, and nothing acked before."""

import asyncio
import contextlib
import random

import pytest

from terang.ingest import intake as intake_module
from terang.ingest import packets
from terang.ingest import session as session_module
from terang.ingest.intake import Intake
from terang.ingest.receipts import Receipts
from terang.ingest.session import BrokerAddress, Session
from terang.pipeline import Incoming
from terang.testing import FakeDevice, MiniPlatform
from terang.values.errors import BrokerError, StoreError
from terang.values.receipt import CONTEXT, Receipt, decode_down
from terang.values.signing import open_statement

PATIENCE_S = 30.0


class Liar:
    """A broker stand-in: hands out `queue` at QoS 1 until each message is acknowledged, again and again, and goes away
    in the middle of packets. `acked` are the payloads acknowledged so far, `told` what was published to devices.
    """

    def __init__(self, queue, generator, *, honest_after=10**9):
        self.queue = list(queue)
        self.acked = []
        self.told = []
        self.connections = 0
        self.open_now = 0
        self.refuse_login = False
        self.refuse_topics = False
        self.on_ack = lambda payload: None
        self._random = generator
        self._honest_after = honest_after
        self._ids = {}
        self.port = 0

    async def __aenter__(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._close = server.close
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._close()

    async def _serve(self, reader, writer):
        self.connections += 1
        self.open_now += 1
        sender = None
        try:
            while True:
                first, body = await self._packet(reader)
                kind = first >> 4
                if kind == 1:
                    writer.write(bytes((0x20, 2, 0, 5 if self.refuse_login else 0)))
                elif kind == 8:
                    writer.write(b"\x90\x03" + body[:2] + (b"\x80" if self.refuse_topics else b"\x01"))
                    if not self.refuse_topics:
                        sender = asyncio.ensure_future(self._send(writer))
                elif kind == 4:
                    self._take_ack(body)
                elif kind == 3:
                    end = 2 + int.from_bytes(body[:2], "big")
                    self.told.append((body[2:end].decode(), body[end:]))
                elif kind == 12:
                    writer.write(b"\xd0\x00")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open_now -= 1
            if sender is not None:
                sender.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await sender
            writer.close()

    async def _packet(self, reader):
        first = (await reader.readexactly(1))[0]
        length = shift = 0
        while True:
            digit = (await reader.readexactly(1))[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return first, await reader.readexactly(length)

    def _take_ack(self, body):
        payload = self._ids.get(int.from_bytes(body, "big"))
        assert payload is not None, "a number that was never given out on this connection"
        self.on_ack(payload)
        self.acked.append(payload)

    async def _send(self, writer):
        self._ids = {}
        honest = self.connections > self._honest_after
        open_ones = [payload for payload in self.queue if payload not in set(self.acked)]
        if not honest:
            open_ones += self._random.sample(open_ones, min(3, len(open_ones)))  # twice on one connection
        for i, payload in enumerate(open_ones, 1):
            self._ids[i] = payload
            data = packets.publish("terang/v1/x/up", payload, i)
            if not honest and self._random.random() < 0.02:
                writer.write(data[: self._random.randrange(len(data))])
                await writer.drain()
                writer.transport.abort()
                return
            writer.write(data)
            if self._random.random() < 0.1:
                await writer.drain()
                await asyncio.sleep(0)


async def until(what, patience_s=PATIENCE_S):
    """Wait until something is so."""
    async with asyncio.timeout(patience_s):
        while not what():  # noqa: ASYNC110  any condition, of code that rings no bell
            await asyncio.sleep(0.005)


class Bench:
    """An intake over a real store, whose commits fail when told to."""

    def __init__(self, platform, broker):
        self.platform = platform
        self.failing = 0
        self.calls = 0
        self.intake = Intake(
            address=BrokerAddress(host="127.0.0.1", port=broker.port, username="u", password="p"),
            open_group=self.open,
            accept=self.accept,
            receipts=Receipts(platform.key),
            clock=platform.clock,
        )

    async def open(self, arrived):
        await asyncio.sleep(0)
        return self.platform.pipeline.opening.open([message.data for message in arrived])

    async def accept(self, arrived, opened):
        self.calls += 1
        await asyncio.sleep(0)
        if self.failing:
            self.failing -= 1
            raise StoreError("the disk is full")
        return self.platform.pipeline.accept([Incoming(*message) for message in arrived], opened)

    def stored(self):
        return {
            row[0]
            for row in self.platform.writer.rows("SELECT data FROM held JOIN record USING(position) WHERE kind=1")
        }


@pytest.fixture
def quick(monkeypatch):
    """Short pauses, so that conditions come about soon."""
    monkeypatch.setattr(intake_module, "_RETRY_S", 0.01)
    monkeypatch.setattr(intake_module, "_RECEIPT_S", 0.01)


@pytest.fixture
def platform(tmp_path):
    with MiniPlatform(tmp_path) as made:
        made.adopt(FakeDevice(1))
        yield made


async def running(bench, work):
    """Run the intake while `work` waits for what should come about."""
    task = asyncio.ensure_future(bench.intake.run())
    try:
        await work
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def envelopes(n):
    device = FakeDevice(1)
    return [device.event("start", i) for i in range(n)]


@pytest.mark.parametrize("seed", range(4))
def test_everything_is_committed_once_and_acked_after(platform, quick, seed, soak):
    """Disconnects in the middle of packets, redeliveries, doubles, failing commits: each envelope stands once in the
    log, each was acknowledged, and none before it was committed; the device is told.
    """
    made = envelopes(soak(3_000, 300))

    async def play():
        async with Liar(made, random.Random(seed), honest_after=25) as broker:
            bench = Bench(platform, broker)
            bench.failing = 3
            broker.on_ack = lambda payload: check(payload in bench.stored())
            await running(bench, until(lambda: set(broker.acked) >= set(made)))
            assert broker.connections > 1
            await running(bench, until(lambda: broker.told and newest(broker).epochs[0].stored_end == len(made)))
            return bench.stored()

    def newest(broker):
        topic, message = broker.told[-1]
        receipt = decode_down(open_statement(platform.key.public, message, CONTEXT))
        assert topic == f"terang/v1/{FakeDevice(1).id.hex()}/down"
        assert isinstance(receipt, Receipt)
        return receipt

    failures = []

    def check(held):
        if not held:
            failures.append("acked before its commit")

    assert asyncio.run(play()) == set(made)
    assert failures == []
    assert platform.writer.rows("SELECT count(*) FROM record WHERE kind=1") == [(len(made),)]


def test_nothing_is_acked_while_the_store_fails(platform, quick):
    """The broker keeps every message, the state says what is waited for; when the store is back all is taken."""
    made = envelopes(50)

    async def play():
        async with Liar(made, random.Random(1), honest_after=0) as broker:
            bench = Bench(platform, broker)
            bench.failing = 10**9

            async def work():
                await until(lambda: bench.calls > 5)
                assert broker.acked == []
                assert bench.intake.state.startswith("waiting for the store: the disk is full")
                bench.failing = 0
                await until(lambda: set(broker.acked) == set(made))
                assert bench.intake.state == "connected"

            await running(bench, work())

    asyncio.run(play())
    assert platform.writer.rows("SELECT count(*) FROM record WHERE kind=1") == [(50,)]


def test_an_enormous_message_is_acked_as_too_large(platform, quick):
    """A message of 3 MB is refused, counted and acknowledged; those after it are taken on the same connection."""
    made = envelopes(5)
    queue = [*made[:2], b"x" * 3_000_000, *made[2:]]

    async def play():
        async with Liar(queue, random.Random(1), honest_after=0) as broker:
            bench = Bench(platform, broker)
            await running(bench, until(lambda: len(broker.acked) == 6))
            assert broker.connections == 1

    asyncio.run(play())
    assert platform.writer.rows("SELECT reason, count FROM refusal") == [("too_large", 1)]


def test_a_backlog_pauses_the_reading(platform, quick, monkeypatch):
    """More than the limit waiting: no more bytes are taken until half of it is committed; all arrives in the end."""
    monkeypatch.setattr(intake_module, "_BACKLOG_LIMIT", 40)
    monkeypatch.setattr(intake_module, "_GROUP_LIMIT", 10)
    made = envelopes(400)
    paused = []
    pause = Session.pause

    def note(self):
        paused.append(1)
        pause(self)

    monkeypatch.setattr(Session, "pause", note)

    async def play():
        async with Liar(made, random.Random(1), honest_after=0) as broker:
            bench = Bench(platform, broker)
            await running(bench, until(lambda: set(broker.acked) == set(made)))

    asyncio.run(play())
    assert paused


@pytest.mark.parametrize(("fault", "word"), [("refuse_login", "login"), ("refuse_topics", "ACL")])
def test_a_broker_that_refuses_is_named_and_left(platform, quick, fault, word):
    """A wrong password or a missing permission: one clear state, and no connection is left open at each try."""

    async def play():
        async with Liar([], random.Random(1)) as broker:
            setattr(broker, fault, True)
            bench = Bench(platform, broker)

            async def work():
                await until(lambda: broker.connections > 5)
                assert word in bench.intake.state
                assert broker.open_now <= 2
                setattr(broker, fault, False)
                await until(lambda: bench.intake.state == "connected")

            await running(bench, work())

    asyncio.run(play())


def test_a_broker_that_is_away_is_waited_for(platform, quick):
    """Nothing listens, then something that does not speak MQTT: a state each, no crash."""

    async def play():
        async def babble(_reader, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 50)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerError):
            await Session.open(BrokerAddress(host="127.0.0.1", port=port), ["t"], lambda *_: None)
        server.close()
        await server.wait_closed()
        with pytest.raises(BrokerError, match="cannot be reached"):
            await Session.open(BrokerAddress(host="127.0.0.1", port=port), ["t"], lambda *_: None)

    asyncio.run(play())


def test_a_broker_whose_machine_is_gone_is_noticed(platform, monkeypatch):
    """Pings that nobody answers end the connection; one that is paused for a backlog is not ended for that."""
    monkeypatch.setattr(session_module, "_KEEPALIVE_S", 1)

    async def play():
        pings = []

        async def serve(reader, writer):
            await reader.read(1000)
            writer.write(b"\x20\x02\x00\x00")
            await reader.read(1000)
            writer.write(b"\x90\x03\x00\x01\x01")
            while data := await reader.read(1000):
                pings.append(data)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        session = await Session.open(BrokerAddress(host="127.0.0.1", port=port), ["t"], lambda *_: None)
        session.pause()
        await until(lambda: len(pings) >= 3)
        assert not session.closed.done()
        session.resume()
        async with asyncio.timeout(PATIENCE_S):
            await session.closed
        server.close()

    asyncio.run(play())
