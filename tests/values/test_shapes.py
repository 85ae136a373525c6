"""The quick decoder against the strict one."""

import random

from hypothesis import given
from hypothesis import strategies as st

from terang.testing import FakeDevice
from terang.values import envelope, reading
from terang.values.envelope import READINGS, Envelope
from terang.values.errors import CodecError
from terang.values.shapes import Shapes

VALUES = (220_000, 1_000, 220_000, 5_000, 50_000, 1_000)


def strict(payload):
    """What the strict decoder says; None where it refuses."""
    try:
        return envelope.decode_payload(payload)
    except CodecError:
        return None


def compare(shapes, payload):
    """The quick decoder answers as the strict one or not at all."""
    quick = shapes.decode(payload)
    if quick is not None:
        assert strict(payload) == Envelope(*(*quick.fields, quick.body)), payload.hex()
        assert envelope.split_payload(payload) == (quick.fields, quick.body_at)
    return quick is not None


numbers = st.one_of(
    st.integers(0, 30), st.integers(250, 260), st.integers(65_530, 65_540), st.integers(0, (1 << 64) - 1)
)
near = st.integers(-(1 << 64), (1 << 64) - 1)


@st.composite
def payloads(draw):
    """Payloads of few shapes and many values."""
    n = draw(st.sampled_from([1, 2, 3, 60]))
    offsets = [0]
    for step in draw(st.lists(st.sampled_from([1, 100, 300, 1000, 70_000]), min_size=n - 1, max_size=n - 1)):
        offsets.append(offsets[-1] + step)
    top = draw(st.sampled_from([5, 300, 70_000, 1 << 33]))
    columns = {
        code: tuple(draw(st.integers(-3 if draw(st.booleans()) else 0, top)) for _ in range(n)) for code in (1, 3, 30)
    }
    clock = draw(st.integers(0, 2))
    utc = draw(st.one_of(near, numbers)) if clock else None
    return envelope.encode_payload(
        Envelope(
            READINGS,
            bytes(16),
            bytes(8),
            draw(numbers),
            bytes(32),
            draw(numbers),
            draw(st.integers(0, 2)),
            draw(numbers),
            utc,
            clock,
            reading.Readings(tuple(offsets), columns),
        )
    )


@given(learned=st.lists(payloads(), min_size=1, max_size=6), asked=payloads())
def test_a_shape_says_what_the_strict_decoder_says(learned, asked):
    """Whatever was learned, what is asked is answered as the strict decoder does, or not at all."""
    shapes = Shapes()
    for payload in learned:
        shapes.learn(payload)
        compare(shapes, payload)
    compare(shapes, asked)


def test_mutated_payloads_never_pass_a_shape_wrongly(soak):
    """Bytes changed in payloads of a known shape: the quick decoder takes only what the strict one reads the same."""
    generator, device, shapes = random.Random(7), FakeDevice(), Shapes()
    taken = 0
    known = []
    for n in (1, 2, 10):
        for utc in (1_763_600_000_000, 5):
            payload, _ = envelope.split(device.readings([VALUES] * n, utc_ms=utc, uptime_ms=70_000))
            shapes.learn(payload)
            known.append(payload)
    for _ in range(soak(1_000_000, 20_000)):
        data = bytearray(generator.choice(known))
        for _ in range(generator.choice((1, 1, 2, 5))):
            data[generator.randrange(len(data))] = generator.choice((0, 1, 23, 24, 25, 255, generator.randrange(256)))
        taken += compare(shapes, bytes(data))
    assert taken > 100


def test_a_negative_time_is_not_read_as_a_positive_one():
    """UTC before 1970 has another head; a shape learned from it would turn its sign."""
    device, shapes = FakeDevice(), Shapes()
    for utc in (-1_763_600_000_000, -1_763_600_000_001, -5, -6):
        payload, _ = envelope.split(device.readings([VALUES], utc_ms=utc))
        shapes.learn(payload)
        compare(shapes, payload)


def test_the_usual_meter_is_read_by_its_shape():
    """The next envelopes of a meter that sends as before are decoded by shape: that is what shapes are for."""
    device, shapes = FakeDevice(), Shapes()
    device.sequence = 1000
    found = 0
    for i in range(50):
        data = device.readings([VALUES] * 10, utc_ms=1_763_600_000_000 + 10_000 * i, uptime_ms=100_000 + 10_000 * i)
        payload, _ = envelope.split(data)
        if compare(shapes, payload):
            found += 1
        else:
            shapes.learn(payload)
    assert found >= 45
