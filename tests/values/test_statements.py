"""Acts and receipts: what the platform signs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terang.values import cbor
from terang.values.act import CONTEXT, Act, open_act, sign_act
from terang.values.errors import CodecError, SignatureError
from terang.values.receipt import EpochReceipt, Receipt, Resend, decode_down, encode_down
from terang.values.signing import KeyPair, sign_statement

KEY = KeyPair(b"\x03" * 32)
unsigned = st.integers(0, (1 << 64) - 1)
epochs = st.binary(min_size=8, max_size=8)
devices = st.binary(min_size=16, max_size=16)
downs = st.one_of(
    st.builds(Receipt, devices, st.lists(st.builds(EpochReceipt, epochs, unsigned, unsigned), max_size=5).map(tuple)),
    st.builds(Resend, devices, epochs, unsigned, unsigned),
)


@given(message=downs)
def test_what_goes_down_survives(message):
    """A receipt and a resend request decode to themselves."""
    assert decode_down(encode_down(message)) == message


@given(message=downs, at=st.integers(0, 500), byte=st.integers(0, 255))
def test_a_mutated_message_is_refused_or_another(message, at, byte):
    """A changed byte gives CodecError or another message with exactly these bytes."""
    data = bytearray(encode_down(message))
    data[at % len(data)] = byte
    try:
        found = decode_down(bytes(data))
    except CodecError:
        return
    assert encode_down(found) == bytes(data)


acts = st.builds(
    Act,
    st.text(max_size=20),
    unsigned,
    unsigned,
    st.lists(
        st.one_of(st.integers(-(1 << 64), (1 << 64) - 1), st.text(max_size=9), st.binary(max_size=9)), max_size=5
    ).map(tuple),
)


@given(act=acts)
def test_an_act_survives(act):
    """An act decodes to itself under its key, and under no other."""
    data = sign_act(KEY, act)
    assert open_act(KEY.public, data) == act
    with pytest.raises(SignatureError):
        open_act(KeyPair(b"\x04" * 32).public, data)


@pytest.mark.parametrize(
    "value", [0, [1], [2, "x", 0, 0, []], [1, "x", 0, 0, 5], [1, 5, 0, 0, []], [1, "x", "y", 0, []]]
)
def test_a_signed_statement_of_another_form_is_no_act(value):
    """The platform's signature does not make an act of what has not its fields."""
    with pytest.raises(CodecError):
        open_act(KEY.public, sign_statement(KEY, cbor.encode(value), CONTEXT))
