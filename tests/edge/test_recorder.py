"""Which frames are recorded."""

from hypothesis import given
from hypothesis import strategies as st

from terang.edge.recorder import is_marked_change, is_wanted

POWER_MW = st.integers(-26_000_000, 26_000_000)


def test_marked_changes():
    """More than 20 W and more than 10 %, or on and off."""
    assert is_marked_change(0, 400)
    assert is_marked_change(400, 0)
    assert not is_marked_change(0, 0)
    assert not is_marked_change(100_000, 120_000)  # 20 W exactly
    assert is_marked_change(100_000, 120_001)
    assert not is_marked_change(1_000_000, 1_099_999)  # below 10 %
    assert is_marked_change(1_000_000, 1_200_000)
    assert is_marked_change(-100_000, 100_000)  # a clamp turned round


@given(POWER_MW, POWER_MW)
def test_a_change_is_one_both_ways(a, b):
    """Switching off is as marked as switching on."""
    assert is_marked_change(a, b) == is_marked_change(b, a)


@given(st.integers(0, 100_000), POWER_MW)
def test_every_frame_when_records_are_as_frequent_as_polls(since_ms, power_mw):
    """record_s <= poll_s records every good frame."""
    assert is_wanted(since_ms=since_ms, record_ms=1000, poll_ms=1000, power_before_mw=power_mw, power_mw=power_mw)


def test_steady_power_is_recorded_on_the_beat():
    """Ten polls a record, with a timer that is a little early or late."""
    steady = {"record_ms": 10_000, "poll_ms": 1000, "power_before_mw": 50_000, "power_mw": 50_000}
    assert is_wanted(since_ms=None, **steady)
    assert not is_wanted(since_ms=9_000, **steady)
    assert is_wanted(since_ms=9_500, **steady)
    assert is_wanted(since_ms=10_001, **steady)
