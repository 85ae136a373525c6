"""The simulated meters: what they speak, what they write down, how they live and end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terang.kits.meter import _frames as frames
from terang.kits.meter import device, rules, simulator
from terang.kits.meter.simulator import Bus, Fault, Household, Meter, Moment, Recording
from terang.values.errors import UsageError

NOW_MS = 1_763_600_000_000
UCI = Path(__file__).resolve().parents[4] / "shared" / "data" / "uci_minute_2006-12-16_2007-01-05.csv"


class Steady:
    """A load that never changes."""

    def __init__(self, power_w: float) -> None:
        self.moment = Moment(power_w, 0.9)

    def at(self, time_ms: int) -> Moment:
        return self.moment


def meter(address: int = 1, power_w: float = 100.0) -> Meter:
    return Meter(address, "room", Steady(power_w), now_ms=NOW_MS)


def ask(bus: Bus, request: str, now_ms: int = NOW_MS) -> list[str]:
    return [answer.data.hex() for answer in bus.take(frames.seal(bytes.fromhex(request)), now_ms)]


def sealed(data: str) -> str:
    return frames.seal(bytes.fromhex(data)).hex()


@pytest.mark.parametrize(
    ("request_hex", "answers"),
    [
        ("010300010002", ["01030459d80001"]),
        ("010300020001", ["0103020001"]),
        ("010300000001", ["018302"]),
        ("010300020002", ["018302"]),
        ("01060001000a", ["01060001000a"]),
        ("010600020005", ["010600020005"]),
        ("0106000200f9", ["018603"]),
        ("010600020000", ["018603"]),
        ("010600070001", ["018602"]),
        ("0104000a0001", ["018402"]),
        ("01040000000b", ["018402"]),
        ("010400000000", ["018402"]),
        ("010100000001", ["018101"]),
        ("020300020001", []),
        ("000600020009", []),
        ("00040000000a", []),
        ("f80300020001", ["f803020001"]),
        ("0142", ["0142"]),
        ("f8413721", []),
    ],
)
def test_it_answers_as_the_data_sheet_says(request_hex: str, answers: list[str]) -> None:
    """Functions, registers, addresses and errors, each in its exact bytes."""
    assert ask(Bus(0, [meter()]), request_hex) == [sealed(answer) for answer in answers]


def test_a_broadcast_is_done_and_not_answered() -> None:
    """Address 0 sets the address of every meter in silence."""
    bus = Bus(0, [meter()])
    assert ask(bus, "000600020009") == []
    assert bus.meters[0].address == 9


def test_a_read_of_values_is_a_frame_of_25_bytes() -> None:
    """Ten registers, low word first, and a part of them when a part is asked for."""
    bus = Bus(0, [meter(power_w=15_000.0)])
    bus.meters[0].energy_mwh = 70_000_000
    whole = bytes.fromhex(ask(bus, "01040000000a")[0])
    assert (len(whole), whole[:3]) == (25, b"\x01\x04\x14")
    assert whole[13:17] == (70_000 & 0xFFFF).to_bytes(2, "big") + (70_000 >> 16).to_bytes(2, "big")
    assert whole[9:13] == (150_000 & 0xFFFF).to_bytes(2, "big") + (150_000 >> 16).to_bytes(2, "big")
    assert ask(bus, "010400050002") == [sealed("0104041170" + "0001")]


def test_what_is_no_request_is_met_with_silence() -> None:
    """A broken checksum, half a request and noise get no answer; after a silence the next request does."""
    bus = Bus(0, [meter()])
    assert bus.take(bytes.fromhex("01040000000a700e"), NOW_MS) == []
    assert bus.take(bytes.fromhex("010400"), NOW_MS) == []
    bus.forget()
    assert len(ask(bus, "01040000000a")) == 1
    assert bus.take(bytes.fromhex("01040000"), NOW_MS) == []
    assert len(bus.take(bytes.fromhex("000a700d"), NOW_MS)) == 1


def test_meters_that_speak_at_once_garble_each_other() -> None:
    """To the general address all of them answer, and the bits collide."""
    bus = Bus(0, [meter(1), meter(2)])
    (garbled,) = ask(bus, "f80300020001")
    assert frames.seal(bytes.fromhex(garbled)[:-2]).hex() != garbled


@given(st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 11_000)), min_size=1, max_size=30))
def test_the_counter_is_the_integral_of_the_power(uses: list[tuple[int, int]]) -> None:
    """In steps of 1 Wh, whatever the moments at which it is looked at; a clock set back counts nothing."""
    one = meter()
    now_ms, mwms = NOW_MS, 0
    for ms, power_w in uses:
        one._load = Steady(power_w)
        now_ms += ms
        mwms += power_w * 1000 * ms
        one.run(now_ms)
        assert one.energy_mwh == mwms // 3_600_000_000 * 1000
    one.run(now_ms - 10_000)
    one.run(now_ms - 9_000)
    assert one._mwms - mwms == one._load.at(0).power_w * 1000 * 1000


def test_the_counter_begins_again_after_its_end() -> None:
    """9999.999 kWh and one more are 0."""
    one = meter(power_w=3_600.0)
    one.energy_mwh = 9_999_999_000
    one.run(NOW_MS + 1_000)
    assert one.energy_mwh == 0


def test_every_room_lives_its_own_life(soak: Callable[[int, int], int]) -> None:
    """The same seed and time give the same power; days and rooms differ; nights are quiet and nothing is impossible."""
    day = NOW_MS // 86_400_000 * 86_400_000 - 7 * 3_600_000
    days = []
    for room in range(soak(60, 12)):
        home = Household(f"room {room}")
        curve = [home.at(day + minute * 60_000).power_w for minute in range(24 * 60)]
        assert curve == [Household(f"room {room}").at(day + minute * 60_000).power_w for minute in range(24 * 60)]
        days.append(round(sum(curve) / 60))
        assert min(curve) > 1
        assert max(curve) < 2_300
        assert sum(curve[120:240]) < sum(curve[18 * 60 : 20 * 60])
    assert 300 < min(days) < max(days) < 6_000
    assert len(set(days)) > len(days) // 2


def test_what_a_room_shows_is_plausible() -> None:
    """Every answer of a week of rooms passes the rules, with a voltage that wanders and a power factor that moves."""
    voltages, factors = set(), set()
    for room in range(6):
        home = Household(f"room {room}")
        for second in range(0, 7 * 86_400, 997):
            now_ms = NOW_MS + second * 1000
            values = Meter(1, f"room {room}", home, now_ms=now_ms).values(now_ms)
            assert frames.from_registers(frames.to_registers(values)) == values
            assert rules.refusal(values, now_ms, ()) is None
            voltages.add(values[0] // 1000)
            factors.add(values[5])
    assert len(voltages) > 8
    assert len(factors) > 15


def test_a_room_that_is_read_every_second_stays_plausible() -> None:
    """Two hours of an evening, with the counter's rise among the rules, and no two answers alike."""
    evening_ms = NOW_MS // 86_400_000 * 86_400_000 + 11 * 3_600_000
    one = Meter(1, "room", Household("room"), now_ms=evening_ms)
    recent: tuple[tuple[int, int], ...] = ()
    before: tuple[int, ...] = ()
    for second in range(7_200):
        now_ms = evening_ms + second * 1000
        values = one.values(now_ms)
        assert rules.refusal(values, now_ms, recent) is None
        assert values != before
        recent = rules.remember(recent, now_ms, values[3])
        before = values
    assert one.energy_mwh > 50_000


def test_the_chip_may_refresh_slower_than_it_is_read() -> None:
    """Then voltage, current and power stand still for a while; the counter goes on."""
    one = Meter(1, "room", Household("room"), now_ms=NOW_MS, refresh_ms=1_150)
    seen = [one.values(NOW_MS + second * 1000) for second in range(20)]
    repeats = sum(a[:3] == b[:3] for a, b in pairwise(seen))
    assert 1 <= repeats <= 10


def test_a_recording_is_played_in_a_circle(tmp_path: Path) -> None:
    """Rows hold from their time on, empty ones are left out, and after the last comes the first."""
    path = tmp_path / "day.csv"
    path.write_text("ts,p_kw,v\n2025-01-01T00:00,1.5,231.0\n2025-01-01T00:01,,\n2025-01-01T00:02,0.5,229.0\n", "utf-8")
    house = Recording(path, NOW_MS)
    assert house.length_ms == 240_000
    powers = [house.at(NOW_MS + minute * 60_000).power_w for minute in range(6)]
    assert powers == [1_500, 1_500, 500, 500, 1_500, 1_500]
    assert house.at(NOW_MS).voltage_v == 231.0


@pytest.mark.parametrize(
    "text", ["", "ts,p_kw\n", "ts,x\n2025-01-01,1\n", "ts,p_kw\nyesterday,1\n", "ts,p_kw\n2025-01-01,much\n"]
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    """One clear line that names the file."""
    path = tmp_path / "bad.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=r"bad\.csv"):
        Recording(path, NOW_MS)


def test_a_real_house_can_be_played() -> None:
    """The recorded minutes of a house in France: its counter runs like the sum of its minutes."""
    if not UCI.exists():
        pytest.skip("the recording is not here")
    one = Meter(1, "house", Recording(UCI, NOW_MS), now_ms=NOW_MS)
    values = one.values(NOW_MS + 30_000)
    assert (values[0], values[2]) == (234_800, 4_216_000)
    one.run(NOW_MS + 3_600_000)
    assert 3_000_000 < one.energy_mwh < 6_000_000


def test_an_unknown_fault_is_wrong_use() -> None:
    """A fault has a name from the list."""
    with pytest.raises(UsageError, match="glitch"):
        Fault(kind="gremlin")


def test_a_list_of_answers_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    """A half-written record at the end is dropped, the whole ones stay, and counting goes on."""
    path = tmp_path / "served.bin"
    first = simulator.ServedFile(path)
    for i in range(3):
        first.add(0, 1, 0, NOW_MS + i, (1, 2, 3, 4_294_967_295_000, 5, 6))
    first.close()
    path.write_bytes(path.read_bytes()[:-7])
    again = simulator.ServedFile(path)
    again.add(0, 1, 0, NOW_MS + 9, (1, 2, 3, 4, 5, 6))
    again.close()
    assert [(item.number, item.time_ms) for item in simulator.served(path)] == [
        (0, NOW_MS),
        (1, NOW_MS + 1),
        (2, NOW_MS + 9),
    ]


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a simulator process in tmp_path and wait until its lines stand."""
    running = []

    def begin(*options: str) -> subprocess.Popen[bytes]:
        (tmp_path / "ready.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "terang.kits.meter.simulator", str(tmp_path), "--no-byte-time", *options]
        running.append(subprocess.Popen(command))
        wait((tmp_path / "ready.json").exists)
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


def wait(until: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_a_process_serves_many_lines_and_remembers_over_a_kill(tmp_path: Path, start: Start) -> None:
    """What a reader got is in the list even after kill -9; the counter never falls when it is started again."""
    process = start("--buses", "3", "--meters", "2")
    assert json.loads((tmp_path / "ready.json").read_text("utf-8"))["buses"] == [[1, 2]] * 3
    got = []
    for number in range(3):
        with device.Bus(tmp_path / f"bus{number}", timeout_s=2) as bus:
            got += [(number, address, bus.read(address)) for address in (1, 2, 1)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "ready.json").unlink()
    served = simulator.served(tmp_path / "served.bin")
    assert [(item.bus, item.address, item.values) for item in served] == got
    kept = {f"{number}/{address}": 5_000_000 for number in range(3) for address in (1, 2)}
    (tmp_path / "registers.json").write_text(json.dumps(kept), "utf-8")
    second = start("--buses", "3", "--meters", "2")
    with device.Bus(tmp_path / "bus2", timeout_s=2) as bus:
        assert bus.read(2)[3] >= 5_000_000
    second.terminate()
    assert second.wait() == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("bus", "ready"))]
    assert [item.number for item in simulator.served(tmp_path / "served.bin") if item[:2] == (2, 2)] == [0, 1]


def test_a_process_puts_in_the_faults_that_it_is_told(tmp_path: Path, start: Start) -> None:
    """A line in faults.jsonl spoils the next answers, and the list says which ones."""
    start()
    with device.Bus(tmp_path / "bus0", timeout_s=2) as bus:
        bus.read(1)
        with (tmp_path / "faults.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"bus": 0, "address": 1, "kind": "glitch", "count": 2}) + "\n")

        def refused() -> bool:
            try:
                bus.read(1)
            except device.RefusedFrame:
                return True
            return False

        wait(refused)
        wait(lambda: not refused())
    faults = [item.fault for item in simulator.served(tmp_path / "served.bin")]
    assert faults.count(simulator.FAULTS.index("glitch")) == 2
    assert faults[0] == faults[-1] == 0


def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    """Killed or not, a parent leaves no simulator behind."""
    script = (
        "import subprocess, sys, os, time\n"
        "command = [sys.executable, '-m', 'terang.kits.meter.simulator', sys.argv[1], '--parent', str(os.getpid())]\n"
        "subprocess.Popen(command)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    wait((tmp_path / "ready.json").exists)
    child = json.loads((tmp_path / "ready.json").read_text("utf-8"))["pid"]
    parent.kill()
    parent.wait()
    wait(lambda: not (tmp_path / "ready.json").exists())
    wait(lambda: not _lives(child))
    assert not (tmp_path / "bus0").is_symlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
