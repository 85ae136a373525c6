"""Deterministic CBOR: one value, one form; a foreign decoder says what is CBOR at all."""

import math

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from terang.values import cbor
from terang.values.errors import CodecError, NotCanonical

numbers = st.one_of(
    st.integers(-(1 << 64), (1 << 64) - 1),
    st.integers(-300, 300),
    st.sampled_from([s * (1 << k) + d for k in (5, 8, 16, 32, 63) for d in (-1, 0, 1) for s in (-1, 1)]),
)
columns = st.one_of(
    st.lists(st.integers(0, (1 << 64) - 1), max_size=12).map(tuple),
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=12).map(tuple),
    st.lists(st.integers(-200, 200), max_size=12).map(tuple),
)
leaves = st.one_of(st.none(), numbers, st.binary(max_size=40), st.text(max_size=20), columns)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.integers(0, (1 << 64) - 1), inner, max_size=4)
    ),
    max_leaves=12,
)


def depth_of(value):
    """How many containers stand in each other."""
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


@given(value=values.filter(lambda value: depth_of(value) <= 8))
def test_a_value_survives(value):
    """Decoding what was encoded gives the same value."""
    assert cbor.decode(cbor.encode(value)) == value


@given(value=values)
def test_a_foreign_decoder_reads_the_same(value):
    """cbor2 reads what we write, and sees the same value where it has a type for it."""

    def plain(item):
        if isinstance(item, list):
            return [plain(part) for part in item]
        if isinstance(item, dict):
            return {key: plain(part) for key, part in item.items()}
        return item

    def open_arrays(item):
        if isinstance(item, cbor2.CBORTag):
            size, signed = {
                64: (1, 0),
                65: (2, 0),
                66: (4, 0),
                67: (8, 0),
                72: (1, 1),
                73: (2, 1),
                74: (4, 1),
                75: (8, 1),
            }[item.tag]
            raw = item.value
            return tuple(
                int.from_bytes(raw[i : i + size], "big", signed=bool(signed)) for i in range(0, len(raw), size)
            )
        if isinstance(item, (list, tuple)):
            return [open_arrays(part) for part in item]
        if isinstance(item, dict):
            return {key: open_arrays(part) for key, part in item.items()}
        return item

    assert open_arrays(cbor2.loads(cbor.encode(value))) == plain(value)


@given(data=st.binary(max_size=60))
@example(data=b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00")
@example(data=b"\xd8\x48\x41\x80")
@example(data=b"\xd8\x41\x40")
@example(data=b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff")
@example(data=b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff")
def test_any_bytes_that_decode_are_the_only_form(data):
    """Whatever decodes encodes to the very same bytes; everything else raises CodecError and nothing else."""
    try:
        value = cbor.decode(data)
    except CodecError:
        return
    assert cbor.encode(value) == data
    cbor2.loads(data)


@given(value=values, at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_mutated_form_is_refused_or_another_value(value, at, flip):
    """One changed byte never gives the same value again."""
    data = bytearray(cbor.encode(value))
    data[at % len(data)] ^= flip
    try:
        other = cbor.decode(bytes(data))
    except CodecError:
        return
    assert cbor.encode(other) == bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        "1800",
        "190001",
        "1a00000001",
        "1b0000000000000001",
        "3800",
        "5801ff",
        "780161",
        "9f01ff",
        "5f4101ff",
        "bf00f6ff",
        "a201000000",
        "a200000000",
        "d84840",
        "d84141 00".replace(" ", ""),
        "d84101",
        "d848410a",
        "98020000",
    ],
)
def test_another_form_is_refused(data):
    """Longer heads, indefinite lengths, unsorted or repeated keys and too wide columns are not the one form."""
    with pytest.raises(CodecError):
        cbor.decode(bytes.fromhex(data))


@pytest.mark.parametrize("data", ["1800", "190017", "9f01ff", "a201000000", "d84840"])
def test_right_in_meaning_is_called_not_canonical(data):
    """A foreign decoder reads these; the error says that the form is the trouble."""
    cbor2.loads(bytes.fromhex(data))
    with pytest.raises(NotCanonical):
        cbor.decode(bytes.fromhex(data))


@pytest.mark.parametrize("value", [1.5, math.nan, True, {1: 2.0}, {-1: 0}, object(), 1 << 64, -(1 << 64) - 1])
def test_what_the_protocol_does_not_have_cannot_be_encoded(value):
    """Floats, truth values, negative keys and numbers over 64 bits raise CodecError."""
    with pytest.raises(CodecError):
        cbor.encode(value)


@pytest.mark.parametrize("value", [(1 << 64,), (-1, 1 << 63), (-(1 << 63) - 1,)])
def test_a_column_over_64_bits_cannot_be_encoded(value):
    """Both ends of the range in one column, or beyond it, raise CodecError."""
    with pytest.raises(CodecError):
        cbor.encode_column(value)


def test_deep_nesting_is_refused():
    """Eight containers in each other are read, nine are not, a thousand raise no RecursionError."""
    assert cbor.decode(b"\x81" * 8 + b"\x00") is not None
    for depth in (9, 1000, 100_000):
        with pytest.raises(CodecError):
            cbor.decode(b"\x81" * depth + b"\x00")


@pytest.mark.parametrize("head", ["9affffffff", "baffffffff", "5affffffff", "d8435affffffff", "9bffffffffffffffff"])
def test_a_huge_count_costs_nothing(head):
    """A count beyond the bytes that follow is refused before anything is made."""
    with pytest.raises(CodecError):
        cbor.decode(bytes.fromhex(head))
