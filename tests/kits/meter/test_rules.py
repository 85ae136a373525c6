"""What is refused on the edge, and that nothing real is."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terang.kits.meter import _frames as frames
from terang.kits.meter import rules

SHARED = Path(__file__).resolve().parents[4] / "shared"
# Answers of real meters, retyped from public threads: light, heavy, 60 Hz, a current above 16 bits, a low factor.
REAL_FRAMES = (
    "01041408d1006c000000f400000026000001f4006400005134",
    "010414097b375700007ed800001e5f000001f4005e0000d74f",
    "020414089a0027000000060000000100000257000700003cab",
    "01041404d2630a0001962400001dca000202580022000016ca",
    "f8041408d300230000000500000002000001f500060000f8be",
)
SOLAR_INVERTER = frames.seal(
    bytes((1, 4, 20)) + b"".join(n.to_bytes(2, "big") for n in (5, 0, 0, 0, 0, 4812, 0, 3175, 0, 0))
)
SOUND = (220_000, 1_000, 209_000, 5_000_000, 50_000, 950)


def values(frame: str | bytes) -> tuple[int, ...]:
    data = bytes.fromhex(frame) if isinstance(frame, str) else frame
    assert frames.seal(data[:-2]) == data
    return frames.from_registers(tuple(int.from_bytes(data[i : i + 2], "big") for i in range(3, 23, 2)))


@pytest.mark.parametrize("frame", REAL_FRAMES)
def test_a_real_answer_is_taken(frame: str) -> None:
    """Nothing that a real meter said is refused."""
    assert rules.refusal(values(frame), 0, ()) is None


def test_every_recorded_answer_is_taken() -> None:
    """Nor any of the recorded ones, with the values that were written down beside them."""
    recorded = SHARED / "formats" / "pzem_frames.jsonl"
    table = SHARED / "data" / "pzem_modbus_frames.csv"
    if not recorded.exists() or not table.exists():
        pytest.skip("the recordings are not here")
    seen = 0
    for line in recorded.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] == "captured":
            said = values(row["response_hex"])
            expected = row["expected"]
            assert said[3] == expected["energy_wh"] * 1000
            assert said[:3] == tuple(
                round(float(expected[key]) * 1000) for key in ("voltage_v", "current_a", "power_w")
            )
            assert rules.refusal(said, 0, ()) is None, row["source"]
            seen += 1
    for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines()):
        said = values(row["frame_hex"].replace(" ", ""))
        assert said[0] == round(float(row["voltage_v"]) * 1000)
        assert rules.refusal(said, 0, ()) is None, row
        seen += 1
    assert seen == 15


def test_the_answer_of_a_solar_inverter_is_refused() -> None:
    """A right checksum, function and length do not make 0.5 V at 317.5 Hz a meter."""
    assert rules.refusal(values(SOLAR_INVERTER), 0, ()) == ("voltage", "500 mV")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({0: 79_900}, "voltage"),
        ({0: 260_100}, "voltage"),
        ({4: 44_900}, "frequency"),
        ({4: 317_500}, "frequency"),
        ({4: 0}, "frequency"),
        ({1: 906_166_000}, "current"),
        ({1: 300_000}, "current"),
        ({2: 23_000_100}, "power"),
        ({5: 1_010}, "factor"),
        ({2: 240_000}, "product"),
        ({2: 170_000}, "product"),
        ({1: 0}, "product"),
        ({0: 0}, "product"),
        ({3: 10_000_000_000}, "energy"),
        ({3: 4_294_967_295_000}, "energy"),
    ],
)
def test_one_impossible_value_is_refused(change: dict[int, int], reason: str) -> None:
    """Each rule has its own word; the same answer without the change is taken."""
    assert rules.refusal(SOUND, 0, ()) is None
    found = rules.refusal(tuple(change.get(i, value) for i, value in enumerate(SOUND)), 0, ())
    assert found is not None
    assert found[0] == reason
    assert found[0] in rules.REASONS


def test_no_mains_is_plausible() -> None:
    """All zero is what a chip without a load and mains would say."""
    assert rules.refusal((0, 0, 0, 5_000, 0, 0), 0, ()) is None


def test_the_tolerance_is_what_its_docstring_works_out() -> None:
    """220 V, 1 A, power factor 1: 7.4 W."""
    assert rules.product_tolerance_mw(220_000, 1_000, 220_000, 1_000) == 100 + 220 + 2_200 + 100 + 400 + 4_400


@given(
    voltage_mv=st.integers(800, 2600).map(lambda n: n * 100),
    current_ma=st.integers(0, 100_000),
    factor=st.integers(0, 1000),
    wander=st.tuples(*(st.floats(-0.005, 0.005) for _ in range(3))),
)
def test_what_a_meter_within_its_accuracy_shows_is_taken(
    voltage_mv: int, current_ma: int, factor: int, wander: tuple[float, ...]
) -> None:
    """True V, I and power factor, each shown within 0.5 % and cut to its step, never break the product rule."""
    power_mw = voltage_mv * current_ma * factor / 1_000_000 * (1 + wander[0])
    shown = (
        int(voltage_mv * (1 + wander[1])) // 100 * 100,
        min(100_000, int(current_ma * (1 + wander[2]))),
        int(power_mw) // 100 * 100,
        0,
        50_000,
        factor // 10 * 10,
    )
    refused = rules.refusal(shown, 0, ())
    assert refused is None or refused[0] in {"voltage", "power"}


def test_a_counter_may_not_rise_faster_than_the_meter_can_pass() -> None:
    """23 kW for a second are 6.4 Wh; 2 Wh are given for the steps; a fall is a fact."""
    recent = rules.remember((), 1_000, 5_000_000)

    def at(energy_mwh: int) -> str:
        refused = rules.refusal((*SOUND[:3], energy_mwh, *SOUND[4:]), 2_000, recent)
        return refused[0] if refused else ""

    assert [at(wh * 1000) for wh in (5_000, 5_008, 5_009, 4_999, 0)] == ["", "", "energy", "", ""]


def test_a_wrong_counter_costs_one_answer_and_a_new_one_is_taken_at_the_second() -> None:
    """After a lone high or low value the next right answer is taken; what stays is taken when it is said again."""

    def refusals(counters_wh: tuple[int, ...]) -> list[str]:
        recent: tuple[tuple[int, int], ...] = ()
        found = []
        for second, wh in enumerate(counters_wh):
            refused = rules.refusal((*SOUND[:3], wh * 1000, *SOUND[4:]), second * 1000, recent)
            recent = rules.remember(recent, second * 1000, wh * 1000)
            found.append(refused[0] if refused else "")
        return found

    assert refusals((100, 101, 4_294_967, 102, 103)) == ["", "", "energy", "", ""]
    assert refusals((90_000, 90_001, 0, 90_002, 90_003)) == ["", "", "", "", ""]
    assert refusals((100, 101, 90_000, 90_001, 90_001)) == ["", "", "energy", "", ""]
    assert refusals((90_000, 90_001, 0, 1, 2)) == ["", "", "", "", ""]


@given(st.tuples(*(st.integers(0, top) for top in (6553500, 2**32 - 1, 2**31, 2**40, 6553500, 655350))))
def test_any_registers_get_an_answer(said: tuple[int, ...]) -> None:
    """The rules answer None or a known word for whatever ten registers may hold."""
    refused = rules.refusal(said, 5, ((0, 1000),))
    assert refused is None or refused[0] in rules.REASONS


@given(st.tuples(*(st.integers(0, 65535) for _ in range(9))))
def test_registers_survive_the_way_there_and_back(registers: tuple[int, ...]) -> None:
    """Ten registers become six values and the same ten registers, low word first."""
    assert frames.to_registers(frames.from_registers((*registers, 0))) == (*registers, 0)


def test_the_checksum_is_the_standard_one() -> None:
    """The published check value of CRC-16/MODBUS, and the request of the data sheet."""
    assert frames.crc16(b"123456789") == 0x4B37
    assert frames.seal(bytes.fromhex("01040000000a")).hex() == "01040000000a700d"
