"""The agent as a whole, without a broker: its states, its clock, its end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from terang.edge.agent import Agent, run_agent, status
from terang.edge.bus_reader import MeterKind
from terang.edge.config import BusConfig, EdgeConfig
from terang.edge.keys import HeldKey, create_key
from terang.edge.outbox import Outbox, Promise
from terang.edge.state import StateBoard
from terang.edge.time_source import CalendarSource, Uptime
from terang.values.clock import FakeClock, SystemClock
from terang.values.envelope import READINGS, TIME, decode_payload, split
from terang.values.errors import BusError, DeviceError, KeyInUse

NOW_MS = 1_763_600_000_000


class OneMeter:
    """A meter that counts its frames, and tells whoever waits for them."""

    def __init__(self) -> None:
        self.frames = 0
        self.fault: Exception | None = None
        self.asked = threading.Condition()

    def read(self, _address: int) -> tuple[int, ...]:
        with self.asked:
            self.frames += 1
            self.asked.notify_all()
        if self.fault is not None:
            raise self.fault
        return (self.frames, 0)

    def close(self) -> None:
        """Nothing to let go of."""

    def wait_for(self, more: int) -> None:
        with self.asked:
            until = self.frames + more
            assert self.asked.wait_for(lambda: self.frames >= until, 30)


class Calendar:
    """A calendar that becomes known when the test says so."""

    def __init__(self) -> None:
        self.utc_ms: int | None = None

    def known_utc_ms(self) -> tuple[int | None, int]:
        return self.utc_ms, int(self.utc_ms is not None)


@pytest.fixture
def config(tmp_path: Path) -> EdgeConfig:
    folder = tmp_path / "device"
    create_key(folder / "device.key")
    return EdgeConfig(
        folder=folder,
        broker_host="127.0.0.1",
        broker_port=1,  # nobody listens there
        username="u",
        password="p",
        platform_key=bytes(32),
        buses=(BusConfig(number=0, port="line", addresses=(1,)),),
        poll_s=0.02,
        record_s=0.0,
        envelope_s=0.1,
    )


def kind_of(meter: OneMeter) -> MeterKind:
    return MeterKind(open_bus=lambda _port: meter, quantities=(4, 3), power_at=1)


@contextmanager
def running(config: EdgeConfig, meter: OneMeter, said: list[str], source: Calendar | None = None) -> Iterator[None]:
    stop = threading.Event()
    settings = {"stop": stop, "say": said.append, "source": source or Calendar()}
    thread = threading.Thread(target=run_agent, args=(config, kind_of(meter)), kwargs=settings)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def envelopes(config: EdgeConfig) -> list:
    with HeldKey(config.folder / "device.key") as held:
        clock = FakeClock()
        uptime = Uptime(clock, CalendarSource(clock, lambda: False))
        promise = Promise(quantities=(4, 3), meters=(1,), risk_ms=0, risk_reads=0)
        box = Outbox(config.folder, held.pair, uptime, promise, max_bytes=1 << 24, boot="")
        found = [decode_payload(split(item.data)[0]) for item in box.unstored(0, 1 << 20)]
        box.close()
    return found


def test_a_clock_that_learns_the_time(config):
    """Undated readings, one time record, dated readings; no broker is one line and no end; the stop is clean."""
    meter, calendar = OneMeter(), Calendar()
    said: list[str] = []
    with running(config, meter, said, calendar):
        meter.wait_for(10)
        assert not status(config.folder).startswith("the agent is not running")
        calendar.utc_ms = NOW_MS
        meter.wait_for(20)
    found = envelopes(config)
    readings = [e for e in found if e.kind == READINGS]
    assert [n for e in readings for n in e.body.columns[4]] == list(range(1, meter.frames + 1))
    assert {e.utc_ms for e in readings} == {None, NOW_MS}
    assert readings[0].utc_ms is None
    assert readings[-1].utc_ms is not None
    assert [e.body.utc_ms for e in found if e.kind == TIME][:1] == [NOW_MS]
    assert sum(line.startswith("broker: no connection to 127.0.0.1:1") for line in said) == 1
    assert status(config.folder).startswith("the agent is not running")


def test_a_kit_that_fails_is_a_refused_frame(config):
    """Whatever a stranger's kit raises, the reading of the bus goes on."""
    meter = OneMeter()
    said: list[str] = []
    with running(config, meter, said):
        meter.wait_for(3)
        meter.fault = ZeroDivisionError("in the kit")
        meter.wait_for(5)
        meter.fault = None
        meter.wait_for(5)
        meter.fault = BusError("nothing came")
        meter.wait_for(10)
    assert sum("ZeroDivisionError" in line for line in said) == 1
    assert sum(line.startswith("bus 0: line is dead") for line in said) == 1
    kept = [n for e in envelopes(config) if e.kind == READINGS for n in e.body.columns[4]]
    lost = {e.body.reason: e.body.reads for e in envelopes(config) if e.kind == 2}
    assert len(kept) + sum(e.body.reads for e in envelopes(config) if e.kind == 2) == meter.frames
    assert set(lost) <= {"refused", "no_answer"}


def test_a_broken_outbox_ends_the_epoch_not_the_program(config):
    """When the file turns out to be broken the agent's run ends by itself, so that a new epoch can begin."""
    with HeldKey(config.folder / "device.key") as held:
        clock = SystemClock()
        said: list[str] = []
        board = StateBoard(config.folder / "state.json", clock, said.append)
        agent = Agent(config, held.pair, kind_of(OneMeter()), clock, Calendar(), board)
        agent._outbox.broken = "the outbox file is broken: page 7"
        agent.run(threading.Event())
    assert "agent: the outbox file is broken: page 7" in said


def test_the_key_decides_who_may_run(config):
    """No key and a key in use are errors that say what to do."""
    with HeldKey(config.folder / "device.key"), pytest.raises(KeyInUse, match="one device has one agent"):
        run_agent(config, kind_of(OneMeter()), stop=threading.Event())
    (config.folder / "device.key").unlink()
    with pytest.raises(DeviceError, match="make a key"):
        run_agent(config, kind_of(OneMeter()), stop=threading.Event())


def test_a_full_disk_at_the_start_is_waited_for(config, small_disk):
    """Without room to begin nothing is read, in one line; when there is room it begins."""
    folder = small_disk / "device"
    (config.folder).rename(config.folder.with_name("moved"))
    folder.mkdir()
    (folder / "device.key").write_bytes((config.folder.with_name("moved") / "device.key").read_bytes())
    (folder / "device.key").chmod(0o600)
    config = EdgeConfig(**{name: getattr(config, name) for name in config.__slots__} | {"folder": folder})
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    meter = OneMeter()
    said: list[str] = []
    waiting = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("outbox"):
            waiting.set()

    stop = threading.Event()
    settings = {"stop": stop, "say": say, "source": Calendar()}
    thread = threading.Thread(target=run_agent, args=(config, kind_of(meter)), kwargs=settings)
    thread.start()
    assert waiting.wait(30)
    assert meter.frames == 0
    filler.unlink()
    meter.wait_for(5)
    stop.set()
    thread.join()
    assert "outbox: keeps every reading" in said
