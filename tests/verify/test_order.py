"""The order of one epoch, against a model that simply keeps sets."""

import time

from hypothesis import given
from hypothesis import strategies as st

from terang.verify.order import EpochOrder


class Model:
    """Every sequence in a set: slow and plain."""

    def __init__(self):
        self.taken = {}
        self.lost = []
        self.anchored_end = 0

    def covered(self, sequence):
        return sequence in self.taken or any(first <= sequence < end for first, end, _ in self.lost)

    @property
    def stored_end(self):
        end = 0
        while self.covered(end):
            end += 1
        return end

    def anchor(self, size):
        while self.anchored_end < self.stored_end:
            at = self.anchored_end
            positions = (
                [self.taken[at]] if at in self.taken else [p for first, end, p in self.lost if first <= at < end]
            )
            if min(positions) >= size:
                break
            self.anchored_end += 1

    def gap(self):
        end = self.stored_end
        later = [s for s in self.taken if s >= end] + [f for f, e, _ in self.lost if f >= end and e > f]
        return (end, min(later)) if later else None


steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, 14), st.just(0)),
        st.tuples(st.just("close"), st.integers(0, 14), st.integers(0, 6)),
        st.tuples(st.just("anchor"), st.integers(0, 25), st.just(0)),
    ),
    max_size=25,
)


def play(history):
    """Order and model after a history; every record has the next position."""
    order, model, position, size = EpochOrder(), Model(), 0, 0
    for what, a, b in history:
        if what == "take" and a not in model.taken:
            assert order.is_new(a) or a < order.stored_end
            order.take(a, position)
            model.taken[a] = position
            position += 1
        elif what == "close":
            order.close(a, a + b, position)
            model.lost.append((a, a + b, position))
            position += 1
        elif what == "anchor":
            size = max(size, min(a, position))
            before = order.anchored_end
            assert order.anchor(size) == (order.anchored_end > before)
            model.anchor(size)
        yield order, model, size


@given(history=steps)
def test_stored_and_anchored_ends_are_the_models(history):
    """After every step: what is stored, what is anchored and the first gap are as sets give them."""
    for order, model, _ in play(history):
        assert order.stored_end == model.stored_end
        assert order.anchored_end == model.anchored_end
        assert order.first_gap() == model.gap()
        assert order.anchored_end <= order.stored_end


@given(history=steps)
def test_a_new_sequence_is_one_that_nobody_used(history):
    """is_new never says True for a sequence that an envelope has used up."""
    for order, model, _ in play(history):
        for sequence in range(20):
            if order.is_new(sequence):
                assert sequence not in model.taken


@given(history=steps, more=st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_an_order_that_is_told_again_behaves_the_same(history, more):
    """Begun from its two ends and told everything again, as after a restart, an order goes on as if nothing
    happened.
    """
    order, model, size = EpochOrder(), Model(), 0
    for order, model, size in play(history):  # noqa: B007  the last ones count
        pass
    again = EpochOrder(stored_end=order.stored_end, anchored_end=order.anchored_end)
    for sequence, position in sorted(model.taken.items()):
        if sequence >= order.anchored_end:
            again.take(sequence, position)
    for first, end, position in model.lost:
        again.close(first, end, position)
    for wider in more:
        size = max(size, wider)
        assert again.anchor(size) == order.anchor(size)
        assert (again.stored_end, again.anchored_end, again.first_gap()) == (
            order.stored_end,
            order.anchored_end,
            order.first_gap(),
        )


def test_four_billion_lost_ones_cost_nothing():
    """A range of 2**32 is a range: closed, passed and anchored at once, and one that comes after all still counts."""
    order = EpochOrder()
    begun = time.perf_counter()
    order.take(0, 0)
    order.close(1, 1 << 32, 1)
    order.take(1 << 32, 2)
    assert order.stored_end == (1 << 32) + 1
    assert not order.is_new(77)  # may have come or not: the store is asked
    order.take(77, 3)
    assert order.anchor(3)
    assert order.anchored_end == 77  # the late one waits for its own place
    assert order.anchor(4)
    assert order.anchored_end == (1 << 32) + 1
    assert time.perf_counter() - begun < 0.5
