"""Envelopes: one byte form, refused in every other, and what is signed is exactly what is read."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terang.testing import FakeDevice
from terang.values import envelope, reading
from terang.values.envelope import EVENT, LOST, READINGS, TIME, Envelope
from terang.values.errors import CodecError, SignatureError, TooLarge
from terang.values.signing import KeyPair, is_signed_by, open_statement, sign_statement

unsigned = st.integers(0, (1 << 64) - 1)
epochs = st.binary(min_size=8, max_size=8)


@st.composite
def readings(draw):
    """1 to 60 moments of 1 to 7 quantities, known or not."""
    n = draw(st.integers(1, 60))
    steps = draw(st.lists(st.integers(1, 70_000), min_size=n - 1, max_size=n - 1))
    offsets = [0]
    for step in steps:
        offsets.append(offsets[-1] + step)
    codes = draw(st.lists(st.integers(0, 300), min_size=1, max_size=7, unique=True))
    column = st.lists(st.integers(-(1 << 40), 1 << 40), min_size=n, max_size=n).map(tuple)
    return reading.Readings(tuple(offsets), {code: draw(column) for code in sorted(codes)})


bodies = st.one_of(
    st.tuples(st.just(READINGS), readings()),
    st.tuples(
        st.just(LOST),
        st.builds(
            lambda epoch, a, b, c, d, reads, reason: reading.Lost(
                epoch, min(a, b), max(a, b), min(c, d), max(c, d), reads, reason
            ),
            epochs,
            unsigned,
            unsigned,
            unsigned,
            unsigned,
            unsigned,
            st.text(max_size=20),
        ),
    ),
    st.tuples(st.just(TIME), st.builds(reading.TimeFix, epochs, unsigned, unsigned, st.sampled_from([1, 2]))),
    st.tuples(
        st.just(EVENT),
        st.builds(reading.Event, st.text(min_size=1, max_size=40), st.integers(-(1 << 64), (1 << 64) - 1)),
    ),
)
envelopes = st.builds(
    lambda kind_body, device, epoch, sequence, previous, meter, attested, uptime, utc, clock: Envelope(
        kind_body[0],
        device,
        epoch,
        sequence,
        previous,
        meter,
        attested,
        uptime,
        utc if clock else None,
        clock,
        kind_body[1],
    ),
    bodies,
    st.binary(min_size=16, max_size=16),
    epochs,
    unsigned,
    st.binary(min_size=32, max_size=32),
    unsigned,
    st.integers(0, 2),
    unsigned,
    st.integers(-(1 << 60), 1 << 60),
    st.integers(0, 2),
)


@given(fields=envelopes)
def test_an_envelope_survives(fields):
    """Decoding the payload gives the envelope back, and encoding that the same bytes."""
    payload = envelope.encode_payload(fields)
    assert envelope.decode_payload(payload) == fields
    assert envelope.encode_payload(envelope.decode_payload(payload)) == payload


@given(fields=envelopes, data=st.data())
def test_a_mutated_payload_is_refused_or_says_something_else(fields, data):
    """Whatever of a changed payload still decodes encodes to exactly these bytes; all else is CodecError."""
    payload = bytearray(envelope.encode_payload(fields))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, 0, 1, 5]))
    mutated = bytes(payload)[: len(payload) - cut]
    try:
        found = envelope.decode_payload(mutated)
    except CodecError:
        return
    assert envelope.encode_payload(found) == mutated


def test_sealed_bytes_are_taken_apart_as_they_were_put_together():
    """split gives back what seal got; every byte of the frame is needed as it is."""
    data = FakeDevice().event("start")
    payload, signature = envelope.split(data)
    assert envelope.seal(payload, signature) == data
    for at in [*range(8), len(data) - 66, len(data) - 65]:
        broken = bytearray(data)
        broken[at] ^= 1
        with pytest.raises(CodecError):
            envelope.split(bytes(broken))
    for wrong in (data[:-1], data + b"\0", b"", data[:7], b"\xd2\x84"):
        with pytest.raises(CodecError):
            envelope.split(wrong)


def test_an_envelope_has_at_most_16_kb():
    """16,384 bytes are taken, one more is not, whether made or read."""
    payload = bytes(16_384 - 7 - 3 - 66)
    data = envelope.seal(payload, bytes(64))
    assert len(data) == envelope.MAX_BYTES
    assert envelope.split(data) == (payload, bytes(64))
    with pytest.raises(TooLarge):
        envelope.seal(payload + b"\0", bytes(64))
    with pytest.raises(TooLarge):
        envelope.split(data + b"\0")


def test_the_body_of_a_reading_keeps_its_rules():
    """Empty, not rising, not beginning at 0, columns of unequal length, none at all, codes out of order: refused."""
    wrong = [
        reading.Readings((), {1: ()}),
        reading.Readings((0, 0), {1: (1, 2)}),
        reading.Readings((0, 5, 3), {1: (1, 2, 3)}),
        reading.Readings((1,), {1: (1,)}),
        reading.Readings((0,), {1: (1, 2)}),
        reading.Readings((0,), {}),
    ]
    for body in wrong:
        data = reading.encode_body(body)
        with pytest.raises(CodecError):
            reading.decode_body(READINGS, data, 0)


@pytest.mark.parametrize("kind", [0, 5, 255])
def test_an_unknown_kind_has_no_body(kind):
    """A kind of a later version raises CodecError, not KeyError."""
    with pytest.raises(CodecError):
        reading.decode_body(kind, b"\x80", 0)


def test_a_signature_holds_for_one_key_context_and_payload():
    """Another key, context, payload or one flipped bit: not signed."""
    key, other = KeyPair(bytes(32)), KeyPair(b"\1" * 32)
    data = sign_statement(key, b"payload", b"context")
    assert open_statement(key.public, data, b"context") == b"payload"
    payload, signature = envelope.split(data)
    for public, said, signed, context in [
        (other.public, payload, signature, b"context"),
        (key.public, payload + b"x", signature, b"context"),
        (key.public, payload, signature, b"contexT"),
        (key.public, payload, bytes((signature[0] ^ 1,)) + signature[1:], b"context"),
    ]:
        assert not is_signed_by(public, said, signed, context)
    with pytest.raises(SignatureError):
        open_statement(other.public, data, b"context")


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_a_key_of_a_wrong_size_signs_nothing(size):
    """A public key that is none never verifies, and never crashes."""
    key = KeyPair(bytes(32))
    assert not is_signed_by(random.Random(1).randbytes(size), b"payload", key.sign(b"x"))
