"""Batches: the exact bytes of records, whatever the records are; and no bytes that hurt whoever decodes them."""

import random
import resource
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terang.ledger import batch
from terang.ledger.batch import Item
from terang.ledger.columns import pack
from terang.testing import FakeDevice
from terang.values import cbor, envelope
from terang.values.act import Act, sign_act
from terang.values.envelope import Envelope
from terang.values.errors import BatchUnfaithful
from terang.values.reading import Lost, Readings, TimeFix
from terang.values.record import ACT, ENVELOPE
from terang.values.signing import KeyPair

NOW = 1_763_600_000_000
KEY = KeyPair(b"\x07" * 32)
extremes = st.sampled_from([0, 1, 255, 256, 65_536, (1 << 62) - 1, 1 << 62, (1 << 63), (1 << 64) - 1])
wide = st.one_of(st.integers(0, 100_000), extremes)
signed_wide = st.one_of(st.integers(-100_000, 100_000), extremes, extremes.map(lambda n: -n))


@st.composite
def any_readings(draw):
    """Readings of 1 to 60 moments, with missing and unknown columns and any numbers."""
    n = draw(st.sampled_from([1, 1, 2, 10, 60]))
    step = draw(st.sampled_from([1, 1000, 59_999]))
    codes = draw(st.sampled_from([(1, 2, 3, 4, 5, 6), (3, 4), (4,), (1, 99)]))
    columns = {}
    for code in codes:
        start, rise = draw(signed_wide), draw(st.integers(-300, 300))
        column = tuple(start + rise * i for i in range(n))
        if max(column) >= 1 << 63 or min(column) < -(1 << 63):
            column = (abs(start),) * n
        columns[code] = column
    return Readings(tuple(range(0, n * step, step)), columns)


@st.composite
def histories(draw):
    """Records as a log may have them: devices in turn, restarts, strange heads, acts, statements of all kinds."""
    devices = [FakeDevice(number, epoch=number) for number in (1, 2, 3)]
    items = []
    for _ in range(draw(st.integers(0, 12))):
        device = draw(st.sampled_from(devices))
        what = draw(st.integers(0, 9))
        if what < 5:
            utc = draw(st.one_of(st.none(), st.just(NOW), signed_wide))
            data = device.say(
                1,
                draw(any_readings()),
                meter=draw(wide),
                uptime_ms=draw(wide),
                utc_ms=utc,
                attested_by=draw(st.integers(0, 2)),
                clock=0 if utc is None else draw(st.integers(1, 2)),
            )
        elif what == 5:
            data = device.say(2, Lost(bytes(8), 3, 1 << 40, 0, 5, 7, "disk_full"), meter=draw(wide))
        elif what == 6:
            data = device.say(3, TimeFix(bytes(8), 5, NOW, 2))
        elif what == 7:
            data = device.event("x" * draw(st.integers(1, 40)), draw(signed_wide))
        elif what == 8:
            items.append(Item(ACT, sign_act(KEY, Act("adopt_device", NOW, 0, (device.id, device.key.public)))))
            continue
        else:
            device.restart(draw(st.integers(10, 12)))
            device.sequence = draw(wide) % (1 << 63)
            if draw(st.booleans()):
                device.previous = draw(st.binary(min_size=32, max_size=32))
            continue
        items.append(Item(ENVELOPE, data))
        if draw(st.integers(0, 9)) == 0:
            items.append(Item(ENVELOPE, data))
    return items


@given(items=histories())
def test_any_log_survives_its_batch(items):
    """Whatever records there are, in whatever order, the batch gives back their exact bytes."""
    assert batch.decode(batch.encode(items)) == items


@given(data=st.binary(max_size=3000), kind=st.integers(0, 255))
def test_records_that_are_no_envelopes_survive(data, kind):
    """Bytes of any kind, also such as only begin like an envelope, stand in the batch as they are."""
    items = [Item(ENVELOPE, data), Item(kind, b"\xd2\x84\x43\xa1\x01\x27\xa0" + data)]
    assert batch.decode(batch.encode(items)) == items


def usual(n, readings=10):
    """A log of n envelopes of two meters."""
    devices = [FakeDevice(1), FakeDevice(2)]
    items = []
    for i in range(n):
        values = [(220_000 + i % 7, 1_000, 220_000, 50 * (i * readings + k), 50_000, 999) for k in range(readings)]
        data = devices[i % 2].readings(values, utc_ms=NOW + 10_000 * i, uptime_ms=10_000 * i)
        items.append(Item(ENVELOPE, data))
    return items


def body_of(data):
    """What is compressed."""
    return zlib.decompress(data[5:])


def batch_of(body, version=1):
    """A batch with this body."""
    return b"TRGB" + bytes((version,)) + zlib.compress(body, 9)


@pytest.mark.timeout(1200)
def test_mutated_batches_raise_only_that_they_are_no_batch(soak):
    """Changed bytes inside the compressed body: other records or BatchUnfaithful, nothing else and nothing slow."""
    generator = random.Random(5)
    bodies = [
        body_of(batch.encode(items))
        for items in (
            usual(6),
            [*usual(3), Item(ACT, sign_act(KEY, Act("x", 1, 0, ()))), Item(ENVELOPE, FakeDevice(5).event("start"))],
        )
    ]
    decoded = 0
    for _ in range(soak(200_000, 5_000)):
        body = bytearray(generator.choice(bodies))
        for _ in range(generator.choice((1, 1, 2, 4))):
            at = generator.randrange(len(body)) if generator.random() < 0.5 else generator.randrange(120)
            body[at] = generator.choice((0, 1, 0xF6, 0x80, 0xA0, 0x60, 255, generator.randrange(256)))
        try:
            batch.decode(batch_of(bytes(body)))
            decoded += 1
        except BatchUnfaithful:
            pass
    assert decoded > 50


def test_every_field_of_another_type_is_refused():
    """Each field replaced by null, a number, a text, a list, a map or a column: BatchUnfaithful or records."""
    fields = cbor.decode(body_of(batch.encode([*usual(4), Item(ACT, b"abc")])))
    assert isinstance(fields, list)
    strange: list[object] = [None, 0, -1, 5, 1 << 63, "text", b"", b"\x00", b"\x09"]
    strange += [[], [[]], [None, None], {}, {1: None}, (), (1, 2, 3)]
    for index in range(len(fields)):
        for other in strange:
            mutated = [*fields[:index], other, *fields[index + 1 :]]
            try:
                batch.decode(batch_of(cbor.encode(mutated)))
            except BatchUnfaithful:
                continue
    for index, stream in enumerate(fields[1]):
        for at in range(len(stream)):
            for other in strange:
                streams = [*fields[1]]
                streams[index] = [*stream[:at], other, *stream[at + 1 :]]
                try:
                    batch.decode(batch_of(cbor.encode([fields[0], streams, *fields[2:]])))
                except BatchUnfaithful:
                    continue


@pytest.mark.parametrize(
    "data", [b"", b"TRGB", b"TRGB\x01", b"TRGB\x02" + zlib.compress(b"\x80"), b"XXXX\x01" + zlib.compress(b"\x80")]
)
def test_what_is_no_batch_is_refused(data):
    """Too short, of another version, without the mark."""
    with pytest.raises(BatchUnfaithful):
        batch.decode(data)


def test_cut_and_extended_batches_are_refused():
    """A batch without its end, or with bytes after it, is none."""
    data = batch.encode(usual(3))
    for wrong in (data[:-1], data[: len(data) // 2], data + b"\x00", data + data):
        with pytest.raises(BatchUnfaithful):
            batch.decode(wrong)


def peak_kb():
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def bombs():
    """Few bytes that ask for much memory."""
    fields = cbor.decode(body_of(batch.encode(usual(2))))
    assert isinstance(fields, list)
    n = 1 << 40
    yield "zeros", batch_of(bytes(90 << 20))
    yield "array", batch_of(b"\x9a\x04\x00\x00\x00" + bytes(0x04000000))
    yield (
        "records",
        batch_of(
            cbor.encode(
                [n, [], b"\x00", (), b"\x00", b"", b"\x00", b"\x00", (), b"\x00", b"\x00", b"\x00", {}, [(), b""], b""]
            )
        ),
    )
    long = pack([1 << 40, 1 << 40])
    yield "readings", batch_of(cbor.encode([*fields[:10], long, b"\x00", *fields[12:]]))
    many = pack([1 << 21, 1 << 21])
    yield (
        "cells",
        batch_of(cbor.encode([*fields[:10], many, b"\x00", dict.fromkeys(range(1, 7), b"\x00"), *fields[13:]])),
    )


@pytest.mark.parametrize("name", ["zeros", "array", "records", "readings", "cells"])
def test_a_bomb_is_refused_before_it_bursts(name):
    """Less than 100 kB that would decompress or unpack to gigabytes is refused with little memory."""
    data = dict(bombs())[name]
    before = peak_kb()
    with pytest.raises(BatchUnfaithful):
        batch.decode(data)
    assert peak_kb() - before < 300_000


def test_the_limits_of_a_batch():
    """A thousand records pass, one more does not; large envelopes with huge columns are kept whatever it takes."""
    items = usual(batch.MAX_RECORDS, 1)
    data = batch.encode(items)
    assert batch.decode(data) == items
    with pytest.raises(BatchUnfaithful):
        batch.encode([*items, items[0]])
    device = FakeDevice(1)
    zeros = [(0, 0, 0, 0, 0, 0)] * 2000
    large = [Item(ENVELOPE, device.readings(zeros, utc_ms=NOW + i, every_ms=1)) for i in range(200)]
    assert batch.decode(batch.encode(large)) == large  # 2.8 million values: raw


def test_a_usual_batch_is_small():
    """Ten readings an envelope: the bytes of a batch beyond the signatures are few a reading."""
    items = usual(1000, 10)
    data = batch.encode(items)
    print(f"{len(data)} bytes for 1,000 envelopes of 10 readings, {len(data) / 10_000:.1f} a reading")
    assert len(data) < batch.MAX_BYTES
    assert (len(data) - 64 * 1000) / 10_000 < 3


@given(items=histories())
@settings(max_examples=30)
def test_each_record_decodes_to_bytes_that_are_canonical(items):
    """What comes out of a batch is sealed in the one form."""
    for item in batch.decode(batch.encode(items)):
        if item.kind == ENVELOPE:
            payload, signature = envelope.split(item.data)
            assert envelope.seal(payload, signature) == item.data
            assert isinstance(envelope.decode_payload(payload), Envelope)
