"""The readings of one envelope: one meter's moments as columns, and the other things a device can say.

Columns, not rows: sixty readings cost one decode, one fold and one row in the store.
Portable: runs under MicroPython too.
"""

from collections import namedtuple

from terang.values import cbor
from terang.values.errors import CodecError

__all__ = [
    "CLOCK_RTC",
    "CLOCK_SYNCED",
    "CLOCK_UNKNOWN",
    "CLOCK_WORDS",
    "EVENT",
    "LOST",
    "READINGS",
    "TIME",
    "Event",
    "Lost",
    "Readings",
    "TimeFix",
    "decode_body",
    "encode_body",
    "read_readings",
]

CLOCK_UNKNOWN = 0
CLOCK_SYNCED = 1
CLOCK_RTC = 2
CLOCK_WORDS = ("unknown", "synced", "rtc")

READINGS, LOST, TIME, EVENT = 1, 2, 3, 4

Readings = namedtuple("Readings", ("offsets_ms", "columns"))
"""n moments of one meter. `offsets_ms`: strictly rising tuple from 0, milliseconds after the envelope's own moment.
`columns`: quantity code -> tuple of n integers in the quantity's unit."""

Lost = namedtuple(
    "Lost", ("epoch", "first_sequence", "end_sequence", "from_uptime_ms", "to_uptime_ms", "reads", "reason")
)
"""What can never come. `epoch`: 8 bytes; envelopes `first_sequence` up to but not including `end_sequence`; up to
`reads` readings taken from the meter between two uptimes that never reached an envelope; `reason` in one word."""

TimeFix = namedtuple("TimeFix", ("epoch", "uptime_ms", "utc_ms", "clock"))
"""The moment at which the device learned the time: in `epoch`, `uptime_ms` was `utc_ms`, known by `clock`."""

Event = namedtuple("Event", ("name", "detail"))
"""Something that happened, by name, with one whole number of detail."""


def encode_body(body: object) -> bytes:
    """The one byte form of a Readings, Lost, TimeFix or Event."""
    if isinstance(body, Readings):
        return cbor.encode([body.offsets_ms, body.columns])
    if isinstance(body, (Lost, TimeFix, Event)):
        return cbor.encode(list(body))
    raise CodecError("an envelope says readings, what is lost, the time or an event")


def decode_body(kind: int, data: bytes, at: int) -> tuple:
    """(body, position after) of the body of an envelope of this kind."""
    if kind == READINGS:
        return read_readings(data, at)
    value, at = cbor.read_value(data, at)
    if not isinstance(value, list):
        raise CodecError("the body of an envelope is an array")
    if kind == LOST:
        return _lost(value), at
    if kind == TIME:
        return _time_fix(value), at
    if kind == EVENT:
        return _event(value), at
    raise CodecError("this kind of envelope is not known: " + str(kind))


def read_readings(data: bytes, at: int) -> tuple[Readings, int]:
    """(Readings, position after); refuses columns of unequal length, offsets that do not rise and an empty one."""
    major, count, at = cbor.read_head(data, at)
    if major != 4 or count != 2:
        raise CodecError("readings are an array of two: offsets and columns")
    offsets, at = cbor.read_column(data, at)
    n = len(offsets)
    if n == 0 or offsets[0] != 0:
        raise CodecError("readings begin at offset 0")
    for i in range(1, n):
        if offsets[i] <= offsets[i - 1]:
            raise CodecError("readings of one envelope must rise in time")
    major, count, at = cbor.read_head(data, at)
    if major != 5 or count == 0:
        raise CodecError("readings need a map of columns")
    columns = {}
    last = -1
    for _ in range(count):
        major, code, at = cbor.read_head(data, at)
        if major != 0 or code <= last:
            raise CodecError("quantity codes must be unsigned and rise")
        last = code
        column, at = cbor.read_column(data, at)
        if len(column) != n:
            raise CodecError("every column must have one value a reading")
        columns[code] = column
    return Readings(offsets, columns), at


def _lost(value: list) -> Lost:
    if len(value) != 7:
        raise CodecError("a lost record has seven fields")
    lost = Lost(*value)
    if not isinstance(lost.epoch, bytes) or len(lost.epoch) != 8 or not isinstance(lost.reason, str):
        raise CodecError("a lost record names an epoch of 8 bytes and a reason")
    _need_unsigned(value[1:6])
    if lost.end_sequence < lost.first_sequence or lost.to_uptime_ms < lost.from_uptime_ms:
        raise CodecError("a lost record's ranges must not be backwards")
    return lost


def _time_fix(value: list) -> TimeFix:
    if len(value) != 4:
        raise CodecError("a time record has four fields")
    fix = TimeFix(*value)
    if not isinstance(fix.epoch, bytes) or len(fix.epoch) != 8:
        raise CodecError("a time record names an epoch of 8 bytes")
    _need_unsigned(value[1:])
    if fix.clock not in (CLOCK_SYNCED, CLOCK_RTC):
        raise CodecError("a time record must say how the time is known")
    return fix


def _event(value: list) -> Event:
    if len(value) != 2 or not isinstance(value[0], str) or not 0 < len(value[0]) <= 40:
        raise CodecError("an event has a name of 1 to 40 characters and a number")
    if not isinstance(value[1], int):
        raise CodecError("an event has a name of 1 to 40 characters and a number")
    return Event(*value)


def _need_unsigned(values: list) -> None:
    for value in values:
        if not isinstance(value, int) or value < 0:
            raise CodecError("a field must be an unsigned number")
