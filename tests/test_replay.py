"""A recorded household: what is read from its file, and that what cannot be read is one clear line."""

import itertools
from pathlib import Path

import pytest

from terang.replay import read_recording
from terang.values.errors import UsageError

HEAD = "ts,v,i_a,p_kw,q_kvar\n"
UCI = Path(__file__).resolve().parents[2] / "shared/data/uci_minute_2006-12-16_2007-01-05.csv"


def recording(tmp_path: Path, text: str):
    path = tmp_path / "house.csv"
    path.write_text(text)
    return read_recording(path)


def test_the_counter_is_the_integral_of_the_power(tmp_path: Path) -> None:
    """6 kW for a minute are 100 Wh, and an empty row lets the one before count until the next."""
    found = recording(
        tmp_path, HEAD + "2024-01-01T00:00,230,26,6.0,0\n2024-01-01T00:01,,,,\n2024-01-01T00:02,230,0,0.0,0\n"
    )
    assert (found.counters_wh, found.energy_wh, found.empty_rows) == ([0, 200], 200, 1)


def test_it_is_moved_by_whole_days(tmp_path: Path) -> None:
    """Times of day stay; the last reading lies within the day before now."""
    found = recording(tmp_path, HEAD + "2006-12-16T17:24,230,1,0.2,0\n2006-12-16T17:25,230,1,0.2,0\n")
    now_ms = 1_763_600_000_000
    moved = found.ending_before(now_ms)
    assert now_ms - 86_400_000 <= moved.minutes[-1].time_ms <= now_ms
    assert (moved.minutes[0].time_ms - found.minutes[0].time_ms) % 86_400_000 == 0
    assert moved.energy_wh == found.energy_wh


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "ts"),
        (HEAD, "fewer than two"),
        (HEAD + "yesterday,230,1,1,0\n2024-01-01T00:01,230,1,1,0\n", "row 2"),
        (HEAD + "2024-01-01T00:01,230,1,1,0\n2024-01-01T00:00,230,1,1,0\n", "rise"),
        (HEAD + "2024-01-01T00:01,230,1,lots,0\n", "lots"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    """The row or the column that is wrong is named."""
    with pytest.raises(UsageError, match=said):
        recording(tmp_path, text)


def test_the_recorded_household(tmp_path: Path) -> None:
    """UCI's twenty days have 880,492 Wh, whether they are counted here or by adding up the minutes."""
    if not UCI.exists():
        pytest.skip("the recording is not part of a clone")
    found = read_recording(UCI)
    minutes = found.minutes
    total = sum(
        (after.time_ms - before.time_ms) * before.power_mw for before, after in itertools.pairwise(minutes)
    )
    assert found.energy_wh == total // 3_600_000_000 == 880_492
