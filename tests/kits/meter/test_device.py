"""The reader of real meters against simulated ones, over a pseudo-terminal."""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from terang.kits.meter import _frames as frames
from terang.kits.meter import device, simulator
from terang.kits.meter.simulator import Fault, Household, Meter, Moment, RunningBus
from terang.values.clock import FakeClock
from terang.values.errors import MeterError, UsageError

NOW_MS = 1_763_600_000_000
PATIENT_S = 2.0  # a loaded machine may let a thread wait; only tests of silence wait so long


class Steady:
    """A load that never changes."""

    def __init__(self, power_w: float = 1_000.0, power_factor: float = 0.9) -> None:
        self.moment = Moment(power_w, power_factor)

    def at(self, time_ms: int) -> Moment:
        return self.moment


class Liar(simulator.Bus):
    """A line that says the same to everything."""

    def __init__(self, said: bytes) -> None:
        super().__init__(0, [])
        self.said = said

    def take(self, data: bytes, now_ms: int) -> list[simulator._Answer]:
        return [simulator._Answer(self.said)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


@pytest.fixture
def running(tmp_path: Path, clock: FakeClock) -> Iterator[RunningBus]:
    meters = [Meter(address, f"room {address}", Steady(100.0 * address), now_ms=NOW_MS) for address in (1, 2, 3)]
    meters[0].energy_mwh = 123_456_000
    record = simulator.ServedFile(tmp_path / "served.bin")
    with RunningBus(simulator.Bus(0, meters, record), tmp_path / "bus0", clock=clock) as line:
        yield line
    record.close()


@pytest.fixture
def bus(running: RunningBus, clock: FakeClock) -> Iterator[device.Bus]:
    with device.Bus(running.path, timeout_s=PATIENT_S, clock=clock) as reader:
        yield reader


def alone(running: RunningBus, *addresses: int) -> None:
    running.bus.meters[:] = [meter for meter in running.bus.meters if meter.address in addresses]


def test_a_read_gives_what_the_meter_shows(bus: device.Bus, running: RunningBus, clock: FakeClock) -> None:
    """Six quantities in milli-units, low word first, as the simulator wrote them down."""
    for second in range(20):
        clock.advance(1_000)
        for address in (1, 2, 3):
            said = bus.read(address)
            assert said == simulator.served(running.path.parent / "served.bin")[-1].values
            assert 200_000 < said[0] < 240_000
            assert abs(said[2] - 100_000 * address) <= 100
        assert bus.read(1)[3] == 123_456_000 + (100 * (second + 1) // 3600) * 1000
    assert len(simulator.served(running.path.parent / "served.bin")) == 80


def test_no_two_answers_of_a_meter_are_alike(bus: device.Bus) -> None:
    """Each answer differs from the one before, even while time stands still, so that it can be told apart."""
    said = [bus.read(2) for _ in range(10)]
    assert all(one != next_one for one, next_one in pairwise(said))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("crc", "crc"),
        ("stranger", "address"),
        ("short", "length"),
        ("glitch", "energy"),
        ("silence", "silent"),
    ],
)
def test_a_bad_answer_is_refused_and_the_next_is_taken(
    running: RunningBus, clock: FakeClock, kind: str, reason: str
) -> None:
    """Each fault has its word, costs one read, and leaves nothing behind."""
    with device.Bus(running.path, timeout_s=0.3, clock=clock) as bus:
        bus.read(1)
        clock.advance(1_000)
        running.bus.meters[0].faults.append(Fault(kind=kind))
        with pytest.raises(MeterError) as caught:
            bus.read(1)
        assert caught.value.reason == reason  # type: ignore[attr-defined]
        assert "\n" not in str(caught.value)
        clock.advance(1_000)
        bus.close()
    with device.Bus(running.path, timeout_s=PATIENT_S, clock=clock) as bus:
        assert bus.read(1)[3] == 123_456_000


def test_a_fall_of_the_counter_is_passed_on(bus: device.Bus, running: RunningBus, clock: FakeClock) -> None:
    """A reset and the roll-over are facts, not faults: the register decides, not the reader."""
    meter = running.bus.meters[0]
    bus.read(1)
    clock.advance(1_000)
    meter.faults.append(Fault(kind="reset"))
    assert bus.read(1)[3] == 0
    meter.energy_mwh = 9_999_999_000
    meter._load = Steady(10_000.0, 1.0)
    meter.run(clock.now_ms())
    with pytest.raises(device.RefusedFrame):
        bus.read(1)
    before = bus.read(1)[3]
    clock.advance(2_000)
    assert before == 9_999_999_000
    assert bus.read(1)[3] < 20_000


def test_a_late_answer_of_another_meter_is_never_taken(running: RunningBus, clock: FakeClock) -> None:
    """What lay on the line when the next meter was asked is thrown away; what comes after it has the wrong address."""
    with device.Bus(running.path, timeout_s=0.3, clock=clock) as bus:
        values = {address: bus.read(address)[2] for address in (1, 2, 3)}
        running.bus.meters[1].faults.append(Fault(kind="late", late_ms=450))
        with pytest.raises(device.BusTrouble):
            bus.read(2)
        for address in (3, 1, 3, 1, 2, 3):
            with contextlib.suppress(device.RefusedFrame):
                assert bus.read(address)[2] == values[address]


def test_an_answer_left_on_the_line_is_thrown_away(running: RunningBus, bus: device.Bus) -> None:
    """A whole valid frame of another meter that waits in the buffer is not the answer to the next question."""
    bus.read(1)
    os.write(running._line._near, bytes.fromhex("02041408d1006c000000f400000026000001f40064000005d1"))
    line = bus._client.socket
    assert line is not None
    end = time.monotonic() + 30
    while line.in_waiting < 25:  # the kernel carries it over in its own time
        assert time.monotonic() < end
        time.sleep(0.001)
    assert bus.read(1)[3] == 123_456_000


def test_a_frame_with_noise_before_it_is_refused(running: RunningBus, clock: FakeClock) -> None:
    """An answer is its frame and nothing else: the library would search for one in the noise."""
    frame = bytes.fromhex("01041408d1006c000000f400000026000001f4006400005134")
    for noisy in (b"\x01\x04\x15" + frame, frame + b"\x00", b"\x00" + frame):
        running._line._bus = Liar(noisy)
        with device.Bus(running.path, timeout_s=0.3, clock=clock) as bus, pytest.raises(device.RefusedFrame) as caught:
            bus.read(1)
        assert caught.value.reason in {"length", "crc", "function"}


def test_a_meter_that_says_it_cannot_is_refused(running: RunningBus, bus: device.Bus) -> None:
    """An exception answer has a word of its own."""
    running._line._bus = Liar(bytes.fromhex("018402c2c1"))
    with pytest.raises(device.RefusedFrame, match="error 2") as caught:
        bus.read(1)
    assert caught.value.reason == "exception"


def test_an_answer_to_another_question_is_refused(running: RunningBus, clock: FakeClock) -> None:
    """A holding-register answer with the right address, length and checksum is not a reading."""
    running._line._bus = Liar(frames.seal(b"\x01\x03\x14" + bytes(20)))
    with device.Bus(running.path, timeout_s=0.3, clock=clock) as bus, pytest.raises(device.RefusedFrame) as caught:
        bus.read(1)
    assert caught.value.reason == "function"


def test_scan_finds_who_is_there(running: RunningBus, clock: FakeClock) -> None:
    """The addresses that answer, and no others."""
    with device.Bus(running.path, timeout_s=0.3, clock=clock) as bus:
        assert bus.scan(range(1, 6)) == [1, 2, 3]


def test_an_address_is_set_with_one_meter_on_the_line(bus: device.Bus, running: RunningBus) -> None:
    """The meter answers at its new address and no longer at the old one; the old one is told."""
    alone(running, 3)
    assert bus.set_address(17) == 3
    assert running.bus.meters[0].address == 17
    assert bus.read(17)[0] > 200_000
    assert bus.set_address(17) == 17


def test_no_address_is_set_while_several_meters_answer(running: RunningBus, clock: FakeClock) -> None:
    """Their answers collide; nothing is written. Two of one address are told apart by what they measure."""
    with device.Bus(running.path, timeout_s=0.3, clock=clock) as bus:
        for addresses in ((1, 2), (2, 3)):
            for meter, address in zip(running.bus.meters, (1, 2, 3), strict=False):
                meter.address = address
            with pytest.raises(device.RefusedFrame, match="leave only one"):
                bus.set_address(9)
            assert 9 not in {meter.address for meter in running.bus.meters}, addresses
        alone(running, 2, 3)
        for meter in running.bus.meters:
            meter.address = 1
        with pytest.raises(device.RefusedFrame, match="leave only one"):
            bus.set_address(9)
        assert {meter.address for meter in running.bus.meters} == {1}


def test_no_address_is_set_without_a_meter(running: RunningBus, clock: FakeClock) -> None:
    """Nobody answers: said so, with what to look at."""
    alone(running)
    with device.Bus(running.path, timeout_s=0.3, clock=clock) as bus, pytest.raises(device.BusTrouble) as caught:
        bus.set_address(9)
    assert caught.value.reason == "silent"


@pytest.mark.parametrize("address", [0, 248, -1, 1000])
def test_an_address_that_no_meter_can_have_is_wrong_use(bus: device.Bus, address: int) -> None:
    """0 and above 247 never reach the line."""
    with pytest.raises(UsageError):
        bus.set_address(address)


def test_the_factory_calibration_is_never_sent(bus: device.Bus, running: RunningBus) -> None:
    """Whatever is done, function 0x41 does not go out."""
    bus.read(1)
    bus.scan(range(1, 4))
    alone(running, 1)
    bus.set_address(5)
    assert running.bus.calibrations_asked == 0
    running.bus.take(frames.seal(bytes.fromhex("f8413721")), NOW_MS)
    assert running.bus.calibrations_asked == 1


def test_two_readers_cannot_share_a_line(bus: device.Bus, running: RunningBus) -> None:
    """The second is told that the line is in use, and gets it when the first lets go."""
    bus.read(1)
    with device.Bus(running.path, timeout_s=PATIENT_S) as second:
        with pytest.raises(device.BusTrouble) as caught:
            second.read(1)
        assert caught.value.reason == "in_use"
        bus.close()
        assert second.read(1)[3] == 123_456_000


def test_another_process_that_holds_the_lock_is_noticed(bus: device.Bus, running: RunningBus) -> None:
    """The lock is the operating system's, so any program that takes it counts."""
    other = os.open(running.path, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(device.BusTrouble, match="another process"):
        bus.read(1)
    os.close(other)
    bus.read(1)


def test_a_port_that_is_not_there_is_a_clear_state(tmp_path: Path) -> None:
    """No port, a port that is no serial line, a port without permission: one line each, and no traceback."""
    (tmp_path / "file").write_text("no line")
    for name in ("nothing", "file"):
        with device.Bus(tmp_path / name) as bus, pytest.raises(device.BusTrouble) as caught:
            bus.read(1)
        assert caught.value.reason == "closed"


def test_the_port_is_opened_again_when_it_comes_back(tmp_path: Path, clock: FakeClock) -> None:
    """An adapter that is pulled out and put back is read again without a restart."""
    meters = [Meter(1, "room", Steady(), now_ms=NOW_MS)]
    with device.Bus(tmp_path / "bus0", timeout_s=PATIENT_S, clock=clock) as bus:
        for _ in range(3):
            with RunningBus(simulator.Bus(0, meters), tmp_path / "bus0", clock=clock):
                try:
                    bus.read(1)
                except device.BusTrouble:
                    assert bus.read(1)[0] > 200_000
            with pytest.raises(device.BusTrouble) as caught:
                bus.read(1)
            assert caught.value.reason in {"closed", "silent"}


def test_twenty_buses_are_read_side_by_side(tmp_path: Path) -> None:
    """One thread a bus, real byte times: every answer that was served is what a reader got, in order."""
    lines = []
    got: dict[int, list[tuple[int, ...]]] = {number: [] for number in range(20)}
    record = simulator.ServedFile(tmp_path / "served.bin")
    for number in range(20):
        meter = Meter(1, f"room {number}", Household(f"room {number}"), now_ms=NOW_MS)
        lines.append(RunningBus(simulator.Bus(number, [meter], record), tmp_path / f"bus{number}", byte_time=True))

    def read(number: int) -> None:
        with device.Bus(tmp_path / f"bus{number}", timeout_s=PATIENT_S) as bus:
            for _ in range(5):
                got[number].append(bus.read(1))

    for line in lines:
        line._clock = FakeClock(NOW_MS)
        line.__enter__()
    threads = [threading.Thread(target=read, args=(number,)) for number in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for line in lines:
        line.__exit__()
    record.close()
    served = simulator.served(tmp_path / "served.bin")
    assert len(served) == 100
    for number, values in got.items():
        assert [item.values for item in served if item.bus == number] == values
