"""Decoding envelopes with readings by their shape: those that differ in values only are taken apart by one unpacking.

A meter sends the same shape for hours: the same fields, as many readings, numbers of the same widths. A shape is
learned from an envelope that the strict decoder has taken, and answers only for payloads whose every other byte is the
same and whose numbers need the widths they have; everything else goes to the strict decoder. So it never takes what the
strict decoder refuses, nor reads it differently (a property test compares the two).
"""

import struct
from collections import OrderedDict
from collections.abc import Callable
from operator import ge, itemgetter, le
from typing import Any, NamedTuple

from terang.values import cbor
from terang.values.envelope import READINGS, split_payload
from terang.values.reading import Readings

__all__ = ["Decoded", "Shapes"]

_SHAPES_OF_A_LENGTH = 8
_LENGTHS = 512
_HEADS = {24: ("B", 24), 25: ("H", 1 << 8), 26: ("I", 1 << 16), 27: ("Q", 1 << 32)}
# version, kind, device, epoch, sequence, previous, meter, attested by, uptime, UTC, clock; these are part of the shape:
_HEAD_FIELDS = 11
_FIXED_FIELDS = (0, 1, 7, 10)


class _Width(NamedTuple):
    """The struct letter of a column's numbers, their bytes, and the least greatest number that needs them."""

    letter: str
    size: int
    floor: int


class _Column(NamedTuple):
    """A column among the unpacked items."""

    code: int
    begin: int
    end: int
    floor: int


_COLUMNS = {64: _Width("B", 1, 0), 65: _Width("H", 2, 1 << 8), 66: _Width("I", 4, 1 << 16), 67: _Width("Q", 8, 1 << 32)}
_ONE = (0,)


class Decoded(NamedTuple):
    """The fields of an envelope before its body, where that begins, and the body; as the strict decoder has them."""

    fields: tuple[Any, ...]
    body_at: int
    body: Readings


class Shapes:
    """The shapes seen lately."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, list[_Shape]] = OrderedDict()

    def decode(self, payload: bytes) -> Decoded | None:
        """What the payload says, if its shape is known; None asks for the strict decoder."""
        for shape in self._known.get(len(payload), ()):
            found = shape.decode(payload)
            if found is not None:
                return found
        return None

    def learn(self, payload: bytes) -> None:
        """Remember the shape of a payload that the strict decoder has taken; not every payload has one."""
        shape = _shape_of(payload)
        if shape is None:
            return
        shapes = self._known.setdefault(len(payload), [])
        shapes.insert(0, shape)
        del shapes[_SHAPES_OF_A_LENGTH:]
        if len(self._known) > _LENGTHS:
            self._known.popitem(last=False)


class _Shape:
    """One shape: a struct whose items are literal bytes, single numbers and columns."""

    __slots__ = (
        "_attested_by",
        "_body_at",
        "_clock",
        "_columns",
        "_fields",
        "_floors",
        "_limits",
        "_literals",
        "_offsets",
        "_pick_literals",
        "_pick_numbers",
        "_struct",
    )

    def __init__(self, parts: "_Parts", body_at: int, attested_by: int, clock: int) -> None:
        self._struct = struct.Struct(">" + "".join(parts.letters))
        self._pick_literals: Callable[[tuple[Any, ...]], Any] = itemgetter(*parts.literal_at)
        self._literals = tuple(parts.literals)
        self._pick_numbers: Callable[[tuple[Any, ...]], Any] = itemgetter(*parts.number_at)
        self._floors = tuple(parts.floors)
        self._limits = tuple(parts.limits)
        self._fields: Callable[[tuple[Any, ...]], Any] = itemgetter(*parts.field_at)
        self._offsets = parts.offsets
        self._columns = parts.columns
        self._body_at = body_at
        self._attested_by = attested_by
        self._clock = clock

    def decode(self, payload: bytes) -> Decoded | None:
        items = self._struct.unpack(payload)
        if self._pick_literals(items) != self._literals:
            return None
        numbers = self._pick_numbers(items)
        if not (all(map(ge, numbers, self._floors)) and all(map(le, numbers, self._limits))):
            return None
        offsets = _ONE
        if self._offsets is not None:
            _, first, end, floor = self._offsets
            offsets = items[first:end]
            if not _rise(offsets) or offsets[-1] < floor:
                return None
        columns = {}
        for code, first, end, floor in self._columns:
            column = items[first:end]
            if floor and max(column) < floor:
                return None
            columns[code] = column
        device, epoch, sequence, previous, meter, uptime, utc = self._fields(items)
        fields = (READINGS, device, epoch, sequence, previous, meter, self._attested_by, uptime, utc, self._clock)
        return Decoded(fields, self._body_at, Readings(offsets, columns))


class _Parts:
    """What a shape is made of, gathered while its payload is walked."""

    def __init__(self) -> None:
        self.letters: list[str] = []
        self.items = 0
        self.literals: list[bytes] = []
        self.literal_at: list[int] = []
        self.number_at: list[int] = []
        self.floors: list[int] = []
        self.limits: list[int] = []
        self.field_at: list[int] = []
        self.offsets: _Column | None = None
        self.columns: list[_Column] = []
        self._literal = b""

    def literal(self, data: bytes) -> None:
        """Bytes that are the same in every payload of the shape."""
        self._literal += data

    def close_literal(self) -> None:
        """End the run of literal bytes."""
        if self._literal:
            self.letters.append(f"{len(self._literal)}s")
            self.literal_at.append(self.items)
            self.literals.append(self._literal)
            self.items += 1
            self._literal = b""

    def number(self, letter: str, floor: int, limit: int) -> None:
        """One number of the head."""
        self.close_literal()
        self.letters.append(letter)
        self.number_at.append(self.items)
        self.floors.append(floor)
        self.limits.append(limit)
        self.field_at.append(self.items)
        self.items += 1

    def string(self, size: int) -> None:
        """A byte string of the head."""
        self.close_literal()
        self.letters.append(f"{size}s")
        self.field_at.append(self.items)
        self.items += 1

    def column(self, code: int, letter: str, count: int, floor: int) -> "_Column":
        """A column of the body."""
        self.close_literal()
        self.letters.append(f"{count}{letter}")
        column = _Column(code, self.items, self.items + count, floor)
        self.items += count
        return column


def _shape_of(payload: bytes) -> _Shape | None:
    """The shape of a payload that is known to be right; None where it has parts that shapes do not know."""
    fields, body_at = split_payload(payload)
    if fields[0] != READINGS or fields[8] is None or fields[8] < 0:
        return None  # a negative number has another head, of which a struct knows nothing
    parts = _Parts()
    at = 1
    parts.literal(payload[:1])
    for index in range(_HEAD_FIELDS):
        at = _walk_head_field(parts, payload, at, fixed=index in _FIXED_FIELDS)
    parts.literal(payload[at : at + 1])
    start = _walk_offsets(parts, payload, at + 1)
    _, count, at = cbor.read_head(payload, start)
    parts.literal(payload[start:at])
    for _ in range(count):
        start = at
        _, code, at = cbor.read_head(payload, at)
        parts.literal(payload[start:at])
        if payload[at + 1] not in _COLUMNS:
            return None  # columns with negative numbers are rare: the strict decoder takes them
        width, begin, end = _column_at(payload, at)
        parts.literal(payload[at:begin])
        parts.columns.append(parts.column(code, width.letter, (end - begin) // width.size, width.floor))
        at = end
    parts.close_literal()
    return _Shape(parts, body_at, fields[6], fields[9])


def _walk_head_field(parts: _Parts, payload: bytes, at: int, *, fixed: bool) -> int:
    major, number, after = cbor.read_head(payload, at)
    if major == 2:
        parts.literal(payload[at:after])
        parts.string(number)
        return after + number
    if fixed:
        parts.literal(payload[at:after])
        return after
    form = payload[at] & 31
    if form < 24:
        parts.number("B", 0, 23)
    else:
        letter, floor = _HEADS[form]
        parts.literal(payload[at : at + 1])
        parts.number(letter, floor, 1 << 64)
    return after


def _walk_offsets(parts: _Parts, payload: bytes, at: int) -> int:
    column, begin, end = _column_at(payload, at)
    if end - begin == 1:
        parts.literal(payload[at:end])  # a single reading is at offset 0, always
        return end
    parts.literal(payload[at:begin])
    parts.offsets = parts.column(0, column.letter, (end - begin) // column.size, column.floor)
    return end


def _column_at(payload: bytes, at: int) -> "tuple[_Width, int, int]":
    """The width of the column at `at`, and where its numbers begin and end."""
    _, tag, middle = cbor.read_head(payload, at)
    _, length, begin = cbor.read_head(payload, middle)
    return _COLUMNS[tag], begin, begin + length


def _rise(offsets: tuple[int, ...]) -> bool:
    return offsets[0] == 0 and all(map(le, offsets[:-1], offsets[1:])) and len(set(offsets)) == len(offsets)
