"""What the device knows of the time."""

import pytest

from terang.edge.time_source import CalendarSource, Uptime
from terang.values.clock import FakeClock
from terang.values.reading import CLOCK_SYNCED, CLOCK_UNKNOWN

NOW_MS = 1_763_600_000_000


@pytest.mark.parametrize(
    ("utc_ms", "is_synced", "is_known"),
    [
        (NOW_MS, True, True),
        (NOW_MS, False, False),
        (5_000, True, False),  # 1970
        (4_102_444_800_000, True, False),  # 2100
        (1_704_067_199_999, True, False),
        (1_704_067_200_000, True, True),
    ],
)
def test_the_calendar_is_believed_only_where_it_may_be(utc_ms, is_synced, is_known):
    """Synchronised and between 2024 and 2100, or unknown."""
    answer = CalendarSource(FakeClock(utc_ms), lambda: is_synced).known_utc_ms()
    assert answer == ((utc_ms, CLOCK_SYNCED) if is_known else (None, CLOCK_UNKNOWN))


def test_a_time_record_is_due_once_and_after_each_jump():
    """First when 1970 becomes today, then not while both clocks agree, then after a jump of more than a second."""
    clock = FakeClock(5_000, monotonic_ms=70_000)
    uptime = Uptime(clock, CalendarSource(clock, lambda: True))
    assert uptime.fix_due() is None
    clock.advance(1_000)
    clock.set_now_ms(NOW_MS)
    assert uptime.fix_due() == (1_000, NOW_MS, CLOCK_SYNCED)
    clock.advance(3_600_000)
    assert uptime.fix_due() is None
    clock.set_now_ms(clock.now_ms() + 1_000)
    assert uptime.fix_due() is None
    clock.set_now_ms(clock.now_ms() - 3_000)
    assert uptime.fix_due() == (3_601_000, NOW_MS + 3_600_000 - 2_000, CLOCK_SYNCED)
    assert uptime.fix_due() is None


def test_syncing_is_asked_about_seldom():
    """The system call is made at most every five seconds."""
    asked: list[int] = []
    clock = FakeClock(NOW_MS)

    def ask() -> bool:
        asked.append(1)
        return True

    source = CalendarSource(clock, ask)
    for _ in range(100):
        source.known_utc_ms()
        clock.advance(100)
    assert len(asked) == 2
