"""A batch: the exact bytes of consecutive records of the log, as compressed columns, small enough for one transaction.

Envelopes with readings are taken apart: fields of the same kind stand together, so that readings cost a few bytes
each; what cannot be compressed is their signatures. Whatever does not come back byte for byte from its columns stands
in the batch as it is, so decoding gives the records exactly, and `encode` has checked that it does.

Form: b"TRGB", one byte with the version (1), then zlib over a CBOR array (docs/ledger.md has every field).
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import sub
from typing import Any, NamedTuple

from terang.ledger.columns import pack, unpack
from terang.values import cbor, envelope, reading
from terang.values.errors import BatchUnfaithful, CodecError
from terang.values.record import ENVELOPE, leaf_hash
from terang.values.shapes import Shapes

__all__ = ["MAX_BYTES", "MAX_RECORDS", "VERSION", "Item", "decode", "encode"]

VERSION = 1
MAX_RECORDS = 1000
MAX_BYTES = 96_000

_MAGIC = b"TRGB"
_EFFORT = 6  # 9 takes twice as long and was measured to save two bytes in a thousand
_INFLATED_LIMIT = MAX_RECORDS * envelope.MAX_BYTES + (1 << 20)
_CELLS_LIMIT = 2 << 20  # columns of more values than this are kept raw: they are no house's, and would fill a memory
_COLUMN_LIMIT = 1 << 63
_FIELDS = 15
_NOT_A_BATCH = (
    *(CodecError, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError),
    *(zlib.error, struct.error, StopIteration),
)


class Item(NamedTuple):
    """One record of a batch: its kind and its exact bytes."""

    kind: int
    data: bytes


class _Stream(NamedTuple):
    """What consecutive envelopes of one meter share."""

    device: bytes
    epoch: bytes
    meter: int
    attested_by: int
    codes: tuple[int, ...]


class _Readings(NamedTuple):
    fields: envelope.Envelope
    signature: bytes
    leaf: bytes


@dataclass(slots=True)
class _Columns:
    """The parts of a batch in memory, envelopes ordered stream by stream."""

    streams: list[_Stream] = field(default_factory=list)
    stream_of: list[int] = field(default_factory=list)  # a record: 0 for raw, else 1 + its stream
    raw: list[Item] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    uptimes: list[int] = field(default_factory=list)
    clocks: list[int] = field(default_factory=list)
    utc_leads: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    offset_steps: list[int] = field(default_factory=list)
    values: dict[int, list[int]] = field(default_factory=dict)
    explicit: list[int] = field(default_factory=list)  # an envelope: 1 where `previous` is not the record before
    previous: list[bytes] = field(default_factory=list)
    signatures: list[bytes] = field(default_factory=list)


def encode(items: Sequence[Item]) -> bytes:
    """The batch of these records, decoded again and compared; BatchUnfaithful if it does not give them back."""
    if len(items) > MAX_RECORDS:
        raise BatchUnfaithful(f"a batch has at most {MAX_RECORDS} records, not {len(items)}")
    try:
        data = _deflate(_gather(items))
    except OverflowError:  # numbers over 63 bits: no meter counts so far, but a device may sign them
        data = _deflate(_gather(items, wide_apart=True))
    if not _is_faithful(data, items):
        data = _deflate(_gather_raw(items))  # a form of envelope that the columns do not know yet
        if not _is_faithful(data, items):
            raise BatchUnfaithful("a batch does not decode to the records it was made of")
    return data


def _is_faithful(data: bytes, items: Sequence[Item]) -> bool:
    try:
        return decode(data) == list(items)
    except BatchUnfaithful:
        return False


def decode(data: bytes) -> list[Item]:
    """The records of a batch, in the order of the log; BatchUnfaithful where the bytes are not a batch."""
    try:
        return _restore(_inflate(data))
    except _NOT_A_BATCH as error:
        raise BatchUnfaithful(f"these bytes are not a batch: {error}") from error


def _gather_raw(items: Sequence[Item]) -> _Columns:
    return _Columns(raw=list(items), stream_of=[0] * len(items))


def _gather(items: Sequence[Item], *, wide_apart: bool = False) -> _Columns:
    columns, shapes = _Columns(), Shapes()
    numbers: dict[_Stream, int] = {}
    members: list[list[_Readings]] = []
    last_leaf: dict[bytes, bytes] = {}
    follows: dict[bytes, bool] = {}
    for item in items:
        found = _readings(item, shapes)
        if found is None or (wide_apart and not _fits(found.fields)):
            columns.stream_of.append(0)
            columns.raw.append(item)
            _note_raw(item, last_leaf)
            continue
        e = found.fields
        stream = _Stream(e.device, e.epoch, e.meter, e.attested_by, tuple(e.body.columns))
        number = numbers.get(stream)
        if number is None:
            number = numbers[stream] = len(members)
            columns.streams.append(stream)
            members.append([])
        columns.stream_of.append(number + 1)
        members[number].append(found)
        follows[found.leaf] = last_leaf.get(e.device) == e.previous
        last_leaf[e.device] = found.leaf
    for stream, envelopes in zip(columns.streams, members, strict=True):
        for found in envelopes:
            _add(columns, stream, found, follows=follows[found.leaf])
    return columns


def _note_raw(item: Item, last_leaf: dict[bytes, bytes]) -> None:
    """An envelope that stands raw still is the one before for the next of its device."""
    if item.kind == ENVELOPE:
        try:
            device = envelope.split_payload(envelope.split(item.data)[0])[0][1]
        except CodecError:
            return
        last_leaf[device] = leaf_hash(item.kind, item.data)


def _decode(payload: bytes, shapes: Shapes) -> envelope.Envelope:
    """The envelope; those of a batch have few shapes."""
    quick = shapes.decode(payload)
    if quick is not None:
        return envelope.Envelope._make((*quick.fields, quick.body))
    fields = envelope.decode_payload(payload)
    shapes.learn(payload)
    return fields


def _readings(item: Item, shapes: Shapes) -> _Readings | None:
    """The envelope if its columns can carry it; None if it has to stand raw."""
    if item.kind != ENVELOPE:
        return None
    try:
        payload, signature = envelope.split(item.data)
        fields = _decode(payload, shapes)
    except CodecError:
        return None
    if fields.kind != envelope.READINGS:
        return None
    return _Readings(fields, signature, leaf_hash(item.kind, item.data))


def _fits(e: envelope.Envelope) -> bool:
    numbers = (e.sequence, e.meter, e.uptime_ms, e.utc_ms or 0, (e.utc_ms or 0) - e.uptime_ms, e.body.offsets_ms[-1])
    return all(
        max(column) < _COLUMN_LIMIT and min(column) >= -_COLUMN_LIMIT for column in (numbers, *e.body.columns.values())
    )


def _add(columns: _Columns, stream: _Stream, found: _Readings, *, follows: bool) -> None:
    e = found.fields
    columns.sequences.append(e.sequence)
    columns.uptimes.append(e.uptime_ms)
    columns.clocks.append(e.clock)
    if e.utc_ms is not None:
        columns.utc_leads.append(e.utc_ms - e.uptime_ms)
    offsets = e.body.offsets_ms
    columns.counts.append(len(offsets))
    columns.offset_steps.extend(map(sub, offsets[1:], offsets))
    for code in stream.codes:
        columns.values.setdefault(code, []).extend(e.body.columns[code])
    columns.explicit.append(0 if follows else 1)
    if not follows:
        columns.previous.append(e.previous)
    columns.signatures.append(found.signature)


def _deflate(c: _Columns) -> bytes:
    body = cbor.encode(
        [
            len(c.stream_of),
            [list(stream) for stream in c.streams],
            pack(c.stream_of),
            tuple(item.kind for item in c.raw),
            pack([len(item.data) for item in c.raw]),
            b"".join(item.data for item in c.raw),
            pack(c.sequences),
            pack(c.uptimes),
            tuple(c.clocks),
            pack(c.utc_leads),
            pack(c.counts),
            pack(c.offset_steps),
            {code: pack(values) for code, values in c.values.items()},
            [tuple(c.explicit), b"".join(c.previous)],
            b"".join(c.signatures),
        ]
    )
    return _MAGIC + bytes((VERSION,)) + zlib.compress(body, _EFFORT)


def _inflate(data: bytes) -> list[Any]:
    if data[:4] != _MAGIC:
        raise BatchUnfaithful("these bytes are not a batch")
    if data[4] != VERSION:
        raise BatchUnfaithful(f"a batch of version {data[4]} needs a newer Terang")
    inflater = zlib.decompressobj()
    body = inflater.decompress(data[5:], _INFLATED_LIMIT)
    if not inflater.eof or inflater.unused_data:
        raise BatchUnfaithful("a batch is cut off, too large or has bytes after its end")
    fields = cbor.decode(body)
    if not isinstance(fields, list) or len(fields) != _FIELDS:
        raise BatchUnfaithful("a batch has the wrong number of fields")
    return fields


def _restore(fields: list[Any]) -> list[Item]:
    total, streams, stream_of, raw_kinds, raw_lengths, raw_bytes, *rest = fields
    if total > MAX_RECORDS or len(streams) > total:
        raise BatchUnfaithful(f"a batch has at most {MAX_RECORDS} records")
    order = unpack(stream_of, total)
    raw = iter(_cut_raw(raw_kinds, unpack(raw_lengths, len(raw_kinds)), raw_bytes))
    sequences, uptimes, clocks, utc_leads, counts, offset_steps, values, chain, signatures = rest
    shared = [_Stream(*stream) for stream in streams]
    numbers = sorted(number for number in order if number)  # envelopes stand stream by stream
    n = len(numbers)
    lengths = unpack(counts, n)
    _check_cells(shared, numbers, lengths)
    if len(clocks) != n or len(chain[0]) != n or len(signatures) != 64 * n or any(length < 1 for length in lengths):
        raise BatchUnfaithful("the columns of a batch differ in length")
    parts = _Parts(
        sequences=unpack(sequences, n),
        uptimes=unpack(uptimes, n),
        clocks=clocks,
        utc_leads=iter(unpack(utc_leads, sum(1 for clock in clocks if clock))),
        offset_steps=unpack(offset_steps, sum(lengths) - n),
        values={code: unpack(column, _cells(code, shared, numbers, lengths)) for code, column in values.items()},
        explicit=chain[0],
        previous=chain[1],
        signatures=signatures,
    )
    waiting: list[list[tuple[envelope.Envelope, bytes]]] = [[] for _ in shared]
    for i, number in enumerate(numbers):
        waiting[number - 1].append(parts.take(i, shared[number - 1], lengths[i]))
    return _chain(order, raw, [iter(members) for members in waiting])


def _check_cells(shared: Sequence[_Stream], numbers: Sequence[int], lengths: Sequence[int]) -> None:
    """Refuse columns that would be much longer than the bytes that hold them: a column of equal numbers has none."""
    cells = sum(
        max(length, 0) * (1 + len(shared[number - 1].codes)) for number, length in zip(numbers, lengths, strict=True)
    )
    if cells > _CELLS_LIMIT:
        raise BatchUnfaithful(f"a batch has at most {_CELLS_LIMIT} values")


def _cells(code: int, shared: Sequence[_Stream], numbers: Sequence[int], lengths: Sequence[int]) -> int:
    return sum(length for number, length in zip(numbers, lengths, strict=True) if code in shared[number - 1].codes)


@dataclass(slots=True)
class _Parts:
    """The unpacked columns, and how far each has been read."""

    sequences: list[int]
    uptimes: list[int]
    clocks: tuple[int, ...]
    utc_leads: Any
    offset_steps: list[int]
    values: dict[int, list[int]]
    explicit: tuple[int, ...]
    previous: bytes
    signatures: bytes
    steps_read: int = 0
    previous_read: int = 0
    cells_read: dict[int, int] = field(default_factory=dict)

    def take(self, i: int, stream: _Stream, count: int) -> tuple[envelope.Envelope, bytes]:
        """The i-th envelope, its `previous` empty where it is the record before, and its signature."""
        offsets = tuple(accumulate(self.offset_steps[self.steps_read : self.steps_read + count - 1], initial=0))
        self.steps_read += count - 1
        columns = {}
        for code in stream.codes:
            at = self.cells_read.get(code, 0)
            columns[code] = tuple(self.values[code][at : at + count])
            self.cells_read[code] = at + count
        previous = b""
        if self.explicit[i]:
            previous = self.previous[self.previous_read : self.previous_read + 32]
            self.previous_read += 32
        uptime, clock = self.uptimes[i], self.clocks[i]
        utc = uptime + next(self.utc_leads) if clock else None
        body = reading.Readings(offsets, columns)
        head = (envelope.READINGS, stream.device, stream.epoch, self.sequences[i], previous, stream.meter)
        fields = envelope.Envelope(*head, stream.attested_by, uptime, utc, clock, body)
        return fields, self.signatures[64 * i : 64 * i + 64]


def _cut_raw(kinds: Sequence[int], lengths: Sequence[int], data: bytes) -> Iterable[Item]:
    if sum(lengths) != len(data) or any(length < 0 for length in lengths):
        raise BatchUnfaithful("the raw records of a batch have the wrong length")
    at = 0
    for kind, length in zip(kinds, lengths, strict=True):
        yield Item(kind, data[at : at + length])
        at += length


def _chain(order: Sequence[int], raw: Any, members: Sequence[Any]) -> list[Item]:
    """The records in the log's order, each envelope's `previous` filled in from the one before of its device."""
    items = []
    last_leaf: dict[bytes, bytes] = {}
    for number in order:
        if number == 0:
            item = next(raw)
            _note_raw(item, last_leaf)
        else:
            fields, signature = next(members[number - 1])
            if not fields.previous:
                fields = fields._replace(previous=last_leaf[fields.device])
            item = Item(ENVELOPE, envelope.seal(envelope.encode_payload(fields), signature))
            last_leaf[fields.device] = leaf_hash(ENVELOPE, item.data)
        items.append(item)
    return items
