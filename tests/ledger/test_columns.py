"""Columns of whole numbers: any 64-bit numbers survive, nothing else passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terang.ledger.columns import pack, unpack
from terang.values.errors import BatchUnfaithful

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@given(values=st.one_of(st.lists(INT64, max_size=50), st.lists(st.integers(-3, 300), max_size=200)))
def test_a_column_survives(values):
    """Unpacking gives the numbers back, whatever their differences."""
    assert unpack(pack(values), len(values)) == values


@given(values=st.lists(st.integers(-300, 300), min_size=1, max_size=30), count=st.integers(0, 60))
def test_another_count_is_refused(values, count):
    """The bytes of n numbers are the bytes of no other count, but where they are all zero."""
    data = pack(values)
    if count != len(values) and data[0]:
        with pytest.raises(BatchUnfaithful):
            unpack(data, count)


@given(data=st.binary(max_size=40), count=st.integers(0, 20))
def test_any_bytes_are_a_column_or_refused(data, count):
    """Nothing but BatchUnfaithful, and numbers that fit into 64 bits."""
    try:
        values = unpack(data, count)
    except BatchUnfaithful:
        return
    assert len(values) == count
    assert all(-(1 << 63) <= value < 1 << 63 for value in values)


def test_few_bytes_for_what_hardly_changes():
    """A thousand seconds of a counter cost a byte each before compression, equal numbers none."""
    assert len(pack([1_763_600_000_000 + 100 * i for i in range(1000)])) == 1 + 6 * 1000
    assert len(pack([100] * 1000)) == 1 + 1000
    assert pack([0] * 1000) == b"\x00"
