"""From waiting readings to signed envelopes: what may stand under one signature, and the bytes of it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from terang.edge.time_source import Moment
from terang.values import envelope
from terang.values.reading import Event, Lost, Readings, TimeFix
from terang.values.signing import KeyPair, sign_statement

__all__ = ["MAX_READINGS", "Statement", "Tip", "Waiting", "cut", "readings_body", "seal_next"]

MAX_READINGS = 256
"""Readings in one envelope: with 8 bytes for each of 7 columns these stay below the 16,384 bytes of an envelope."""

_APART_MS = 100


class Waiting(NamedTuple):
    """One reading that waits for its envelope: frame `nth` of its meter, when, and its values in the kit's order."""

    nth: int
    moment: Moment
    values: tuple[int, ...]


class Statement(NamedTuple):
    """Anything to be signed: its kind, whose meter (0: the device itself), when, and what it says."""

    kind: int
    meter: int
    moment: Moment
    body: Readings | Lost | TimeFix | Event


class Tip(NamedTuple):
    """The end of the chain of envelopes: the next takes `sequence` in `epoch` and carries the hash `previous`."""

    serial: int
    epoch: bytes
    sequence: int
    previous: bytes


def cut(waiting: Sequence[Waiting]) -> Iterator[Sequence[Waiting]]:
    """Runs that may share an envelope: at most MAX_READINGS, and one clock tells the time of all of them.

    An envelope gives one UTC and offsets, so a reading taken after the calendar jumped begins a new one.
    """
    begin = 0
    for at in range(1, len(waiting) + 1):
        if at == len(waiting) or at - begin == MAX_READINGS or not _same_clock(waiting[begin], waiting[at]):
            yield waiting[begin:at]
            begin = at


def _same_clock(first: Waiting, other: Waiting) -> bool:
    a, b = first.moment, other.moment
    if a.utc_ms is None or b.utc_ms is None:
        return a.clock == b.clock
    return a.clock == b.clock and abs((b.utc_ms - a.utc_ms) - (b.uptime_ms - a.uptime_ms)) <= _APART_MS


def readings_body(run: Sequence[Waiting], quantities: Sequence[int]) -> Readings:
    """The columns of a run, in the order of the quantities' codes."""
    start_ms = run[0].moment.uptime_ms
    columns = tuple(zip(*[item.values for item in run], strict=True))
    return Readings(
        tuple([item.moment.uptime_ms - start_ms for item in run]),
        {code: columns[at] for at, code in sorted(enumerate(quantities), key=lambda pair: pair[1])},
    )


def seal_next(key: KeyPair, device: bytes, tip: Tip, statement: Statement) -> tuple[bytes, Tip]:
    """(the exact signed bytes of the envelope at the tip, the tip after it)."""
    s = statement
    payload = envelope.encode_payload(
        envelope.Envelope(
            *(s.kind, device, tip.epoch, tip.sequence, tip.previous, s.meter, 0),
            *(s.moment.uptime_ms, s.moment.utc_ms, s.moment.clock, s.body),
        )
    )
    data = sign_statement(key, payload)
    return data, tip._replace(sequence=tip.sequence + 1, previous=envelope.envelope_hash(data))
