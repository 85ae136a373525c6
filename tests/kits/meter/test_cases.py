"""The cases that people can read, and the vectors that other builds of the register run."""

import json
import re
from pathlib import Path

import pytest

from terang.kits.meter import KIT, model, rules, simulator

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "src/terang/kits/meter/README.md"
VECTORS = json.loads((ROOT / "tests/vectors/register.json").read_text(encoding="utf-8"))
ROW = re.compile(
    r"^\| (?P<name>[^|]+) \| `(?P<reads>[^`]+)` \| (?P<yes>[\d.]+) \| (?P<maybe>[\d.]+) \| (?P<why>[^|]+) \|$"
)
CASES = [match.groupdict() for line in README.read_text(encoding="utf-8").splitlines() if (match := ROW.match(line))]
BEGIN_MS = 1_763_600_400_000


def readings(text: str) -> list[list[int]]:
    found = []
    for word in text.split():
        counter, seconds = word.rstrip("!").split("@")
        found.append([BEGIN_MS + int(seconds) * 1000, 0 if word.endswith("!") else 220_000, int(counter) * 1000])
    return found


def mwh(text: str) -> int:
    whole, _, rest = text.partition(".")
    return int(whole) * 1000 + int((rest + "000")[:3])


def run(reads: list[list[int]]) -> tuple[tuple[int, ...], list[list[object]]]:
    times, voltages, counters = (tuple(column) for column in zip(*reads, strict=True))
    state, steps = model.advance((), times, counters, voltages, model.POWER_MW_MAX)
    return state, [list(step) for step in steps]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_table_of_cases_is_true(case: dict[str, str]) -> None:
    """Each row of the README comes out as it says."""
    _, steps = run(readings(case["reads"]))
    assert sum(step[2] for step in steps) == mwh(case["yes"])  # type: ignore[misc]
    assert sum(step[3] for step in steps) == mwh(case["maybe"])  # type: ignore[misc]
    assert ", ".join(str(step[4]) for step in steps if step[4]) == case["why"].replace("-", "")


def test_the_table_has_every_reason_and_the_field_cases() -> None:
    """At least twenty cases, every reason among them, and what went wrong elsewhere in the field."""
    assert len(CASES) >= 20
    assert {word for case in CASES for word in case["why"].split(", ")} == {"-", *model.REASONS}
    assert sum("true 0.9" in case["name"] or "0, 0.3" in case["name"] or "5 kWh" in case["name"] for case in CASES) >= 4


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_the_vectors_hold(case: dict) -> None:
    """Steps and state of every shared vector, to the milliwatt-hour."""
    assert run(case["readings"]) == (tuple(case["state"]), case["steps"])


def test_the_vectors_hold_every_case_of_the_table() -> None:
    """What the README shows, every build of the register runs."""
    shared = {case["name"]: case["readings"] for case in VECTORS}
    for case in CASES:
        assert shared[case["name"]] == readings(case["reads"])


def test_a_step_ends_at_the_hour() -> None:
    """Increments within one UTC hour become one step; one that crosses stands alone; nothing used, no step."""
    hour_ms = 1_763_600_400_000
    at = (-30, -20, -10, 5, 15, 25, 35, 45)
    counters = (100, 101, 102, 104, 105, 106, 106, 106)
    reads = [[hour_ms + seconds * 1000, 220_000, wh * 1000] for seconds, wh in zip(at, counters, strict=True)]
    _, steps = run(reads)
    spans = [((step[0] - hour_ms) // 1000, (step[1] - hour_ms) // 1000, step[2]) for step in steps]  # type: ignore[operator]
    assert spans == [(-30, -10, 2000), (-10, 5, 2000), (5, 35, 2000)]
    assert hour_ms % 3_600_000 == 0


def test_the_kit_names_what_its_readings_hold() -> None:
    """All six quantities of the meter, by the codes of the device protocol."""
    assert (KIT.name, KIT.quantities) == ("meter", (1, 2, 3, 4, 5, 6))


def test_the_readme_names_every_reason_and_every_fault() -> None:
    """Each word that a person may meet is explained."""
    text = README.read_text(encoding="utf-8")
    named = [*model.REASONS, *rules.REASONS, *(kind for kind in simulator.FAULTS if kind != "none")]
    assert [word for word in named if f"| `{word}` |" not in text] == []
