"""docs/ledger.md is enough to read a chain: a decoder written from it alone gives back the records.

The decoder below uses the standard library and nothing of Terang. It is what a stranger would write.
"""

import hashlib
import importlib.util
import re
import struct
import zlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from terang.ledger.batch import Item, encode
from terang.ledger.merkle import leaf_nodes, root_hash
from terang.testing import FakeDevice
from terang.values.act import Act, sign_act
from terang.values.reading import Lost, Readings
from terang.values.record import ACT, ENVELOPE, leaf_hash
from terang.values.signing import KeyPair

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
NOW_MS = 1_763_600_000_000
TYPED = {64: "B", 65: "H", 66: "I", 67: "Q", 72: "b", 73: "h", 74: "i", 75: "q"}


def read(data, at=0):
    """(value, position after) of one CBOR item of the device protocol; a typed array as a tuple."""
    if data[at] == 0xF6:
        return None, at + 1
    major, number, at = data[at] >> 5, data[at] & 31, at + 1
    if number >= 24:
        size = 1 << (number - 24)
        number, at = int.from_bytes(data[at : at + size], "big"), at + size
    if major in (0, 1):
        return (number if major == 0 else -1 - number), at
    if major in (2, 3):
        return data[at : at + number], at + number
    if major == 6:
        raw, at = read(data, at)
        letter = TYPED[number]
        return struct.unpack(f">{len(raw) // struct.calcsize('>' + letter)}{letter}", raw), at
    items = []
    for _ in range(number * (2 if major == 5 else 1)):
        item, at = read(data, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2], strict=True))), at


def head(major, number):
    """The shortest head."""
    for size, letter in ((1, "B"), (2, "H"), (4, "I"), (8, "Q")):
        if number < 24:
            return bytes((major << 5 | number,))
        if number < 1 << 8 * size:
            return bytes((major << 5 | 23 + size.bit_length(),)) + struct.pack(">" + letter, number)
    raise OverflowError


def column(values):
    """A typed array in the narrowest type."""
    tags = (64, 65, 66, 67) if min(values) >= 0 else (72, 73, 74, 75)
    for tag in tags:
        try:
            body = struct.pack(f">{len(values)}{TYPED[tag]}", *values)
        except struct.error:
            continue
        return head(6, tag) + head(2, len(body)) + body
    raise OverflowError


def number(value):
    """An integer."""
    return head(0, value) if value >= 0 else head(1, -1 - value)


def text(data):
    """A byte string."""
    return head(2, len(data)) + data


def unpack(data, n):
    """A packed column of n numbers."""
    planes = [data[1 + i * n : 1 + (i + 1) * n] for i in range(data[0])]
    values, value = [], 0
    for j in range(n):
        folded = int.from_bytes(bytes(plane[j] for plane in planes), "big")
        step = folded >> 1 if folded % 2 == 0 else -(folded >> 1) - 1
        value = (value + step + (1 << 63)) % (1 << 64) - (1 << 63)
        values.append(value)
    return values


def stranger(batch):
    """(kind, bytes) of every record of a batch."""
    assert batch[:5] == b"TRGB\x01"
    (total, streams, stream_of, kinds, lengths, raw, *parts), _ = read(zlib.decompress(batch[5:]))
    order = unpack(stream_of, total)
    waiting = envelopes(streams, sorted(number for number in order if number), *parts)
    cuts = unpack(lengths, len(kinds))
    raws = iter([(kind, raw[sum(cuts[:i]) : sum(cuts[: i + 1])]) for i, kind in enumerate(kinds)])
    records = []
    newest: dict[bytes, bytes] = {}
    for which in order:
        if which == 0:
            kind, data = next(raws)
            device = device_of(data) if kind == 1 else None
        else:
            before, previous, after, device = waiting[which - 1].pop(0)
            payload = before + text(newest[device] if previous is None else previous) + after[0]
            kind, data = 1, bytes.fromhex("d28443a10127a0") + text(payload) + b"\x58\x40" + after[1]
        records.append((kind, data))
        if device is not None:
            newest[device] = hashlib.sha256(b"\x00\x01" + data).digest()
    return records


def envelopes(streams, numbers, sequences, uptimes, clocks, leads, counts, steps, values, chain, signatures):
    """For each stream its envelopes, as (payload up to previous, previous, (payload after it, signature), device)."""
    n = len(numbers)
    sequences, uptimes, counts = unpack(sequences, n), unpack(uptimes, n), unpack(counts, n)
    leads = iter(unpack(leads, sum(clock != 0 for clock in clocks)))
    steps = iter(unpack(steps, sum(counts) - n))
    sizes = {code: sum(counts[i] for i in range(n) if code in streams[numbers[i] - 1][4]) for code in values}
    cells = {code: iter(unpack(values[code], sizes[code])) for code in values}
    found: list[list[tuple]] = [[] for _ in streams]
    for i, which in enumerate(numbers):
        device, epoch, meter, attested_by, codes = streams[which - 1]
        offsets = [0]
        for _ in range(counts[i] - 1):
            offsets.append(offsets[-1] + next(steps))
        columns = {code: [next(cells[code]) for _ in range(counts[i])] for code in codes}
        utc = number(uptimes[i] + next(leads)) if clocks[i] else b"\xf6"
        previous = chain[1][32 * sum(chain[0][:i]) :][:32] if chain[0][i] else None
        before = b"\x8c\x01\x01" + text(device) + text(epoch) + number(sequences[i])
        after = number(meter) + number(attested_by) + number(uptimes[i]) + utc + number(clocks[i])
        body = b"\x82" + column(offsets) + head(5, len(columns))
        body += b"".join(number(code) + column(columns[code]) for code in codes)
        found[which - 1].append((before, previous, (after + body, signatures[64 * i : 64 * i + 64]), device))
    return found


def device_of(data):
    """Whose envelope these bytes are."""
    payload, _ = read(data, 7)
    return read(payload)[0][2]


def blocks(after, count):
    """The bytes of the next code blocks of the page after a text."""
    found = re.findall(r"```text\n([0-9a-f\n]+)```", PAGE[PAGE.index(after) :])
    return [bytes.fromhex(block) for block in found[:count]]


def test_a_stranger_can_read_the_example() -> None:
    """The decoder that this page describes gives the example's records, leaves and root."""
    *records, batch = blocks("### A worked example", 4)
    assert stranger(batch) == [(1, record) for record in records]
    leaves = [hashlib.sha256(b"\x00\x01" + record).digest() for record in records]
    assert all(f"leaf `{leaf.hex()}`" in PAGE for leaf in leaves)
    left = hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    root = hashlib.sha256(b"\x01" + left + leaves[2]).digest()
    assert f"Root of the three: `{root.hex()}`" in PAGE
    assert f"Inclusion path of record 1: `{leaves[0].hex()}`, `{leaves[2].hex()}`" in PAGE


def test_the_example_is_what_the_code_makes() -> None:
    """scripts/ledger_example.py writes what stands in the page, but for what zlib may compress otherwise."""
    spec = importlib.util.spec_from_file_location("ledger_example", ROOT / "scripts" / "ledger_example.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    compressed = re.compile(r"The batch, .*?```\n", re.DOTALL)
    assert compressed.sub("", module.page(PAGE)) == compressed.sub("", PAGE), "run scripts/ledger_example.py"
    *_, batch = blocks("### A worked example", 4)
    assert module.fields_of(batch) == module.fields_of(encode(module.items()))


@st.composite
def logs(draw):
    """Records of two devices with several meters: readings with and without UTC, lost records, restarts, acts."""
    devices = [FakeDevice(1, epoch=1), FakeDevice(2, epoch=2)]
    items = []
    for _ in range(draw(st.integers(1, 12))):
        device = draw(st.sampled_from(devices))
        what = draw(st.integers(0, 6))
        if what == 0:
            items.append(Item(ENVELOPE, device.say(2, Lost(bytes(8), 3, 5, 0, 5, 7, "killed"), meter=3)))
        elif what == 1:
            items.append(Item(ACT, sign_act(KeyPair(b"\x07" * 32), Act("revoke_device", NOW_MS, 0, (device.id,)))))
        elif what == 2:
            device.restart(draw(st.integers(10, 12)))
        else:
            n = draw(st.integers(1, 5))
            cells = st.tuples(*[st.integers(-(1 << 40), 1 << 61)] * n)
            codes = draw(st.sampled_from([(3, 4), (1, 2, 3, 4, 5, 6), (9,)]))
            body = Readings(tuple(range(0, 1000 * n, 1000)), {code: draw(cells) for code in codes})
            utc = draw(st.sampled_from([None, NOW_MS, -5]))
            meter, uptime = draw(st.integers(1, 3)), draw(st.integers(0, 1 << 40))
            clock = 0 if utc is None else 1
            items.append(Item(ENVELOPE, device.say(1, body, meter=meter, uptime_ms=uptime, utc_ms=utc, clock=clock)))
    return items


@settings(max_examples=100)
@given(items=logs())
def test_a_stranger_can_read_any_batch(items: list[Item]) -> None:
    """The same decoder gives back every record of whatever log, and with them the leaves and the root."""
    records = stranger(encode(items))
    assert records == [(item.kind, item.data) for item in items]
    leaves = [hashlib.sha256(b"\x00" + bytes((kind,)) + data).digest() for kind, data in records]
    assert leaves == [leaf_hash(item.kind, item.data) for item in items]
    assert root_hash(leaf_nodes(leaves), len(leaves)) == tree(leaves)


def tree(leaves):
    """The root, as the page says it."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + tree(leaves[:half]) + tree(leaves[half:])).digest()
