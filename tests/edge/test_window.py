"""Which envelopes are sent when."""

from hypothesis import given
from hypothesis import strategies as st

from terang.edge.link import Window
from terang.edge.outbox import Held


def held(place: int) -> Held:
    return Held(place, 1, place - 1, b"data")


def test_the_window_is_bounded_and_slides_with_receipts():
    """No more than its limit is ahead of the receipts; each receipt makes room; the envelopes' bytes are not kept."""
    window = Window(3)
    for place in (1, 2, 3):
        assert window.room() == 4 - place
        window.sent(held(place), now_ms=0)
    assert window.room() == 0
    assert window.after == 3
    window.settle(lambda _serial: 2, now_ms=10)
    assert window.room() == 2
    assert all(item.data == b"" for item in window._sent)


def test_stuck_is_the_oldest_alone():
    """Progress of the oldest restarts the clock; nothing sent is never stuck; a restart begins at the oldest."""
    window = Window(10)
    assert not window.is_stuck(10**9, 30_000)
    window.sent(held(1), now_ms=1000)
    window.sent(held(2), now_ms=20_000)
    assert not window.is_stuck(30_999, 30_000)
    assert window.is_stuck(31_000, 30_000)
    window.settle(lambda _serial: 1, now_ms=31_000)
    assert not window.is_stuck(60_999, 30_000)
    window.restart(61_000)
    assert (window.after, window.room()) == (0, 10)
    assert not window.is_stuck(10**9, 30_000)


@given(st.lists(st.integers(0, 30), max_size=30))
def test_receipts_in_any_order_never_make_the_window_wrong(ends):
    """What is not stored stays in the window, whatever receipts come."""
    window = Window(30)
    for place in range(1, 31):
        window.sent(held(place), now_ms=0)
    best = 0
    for end in ends:
        best = max(best, end)
        window.settle(lambda _serial, best=best: best, now_ms=1)  # type: ignore[misc]
        assert [item.sequence for item in window._sent] == list(range(best, 30))
