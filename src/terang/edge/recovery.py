"""What an earlier process of this device left behind: reads without a result, and what a broken outbox had held."""

import sqlite3
from collections.abc import Iterator

from terang.edge.marks import REASONS, EpochMark, Marks, MeterMark
from terang.edge.outbox_file import Damaged
from terang.values.reading import Lost

__all__ = ["left_behind", "lost_with_the_file", "missed"]

_ANSWER_MS = 2000
_KILLED, _BROKEN, _POWER, _DAMAGED = "killed", "outbox_broken", "power", "damaged"


def missed(mark: MeterMark, sequence: int) -> Lost:
    """The lost record of the reads that a meter's mark has counted; `sequence` says where in the epoch it is noted."""
    return Lost(
        *(mark.epoch, sequence, sequence, mark.missed_from_ms, max(mark.missed_from_ms, mark.missed_to_ms)),
        *(mark.missed_reads, REASONS[mark.missed_reason]),
    )


def left_behind(db: sqlite3.Connection, marks: Marks, boot: str) -> Iterator[tuple[int, Lost]]:
    """(meter, lost record) of every read that earlier epochs began and never finished or never declared lost.

    Where the machine itself went down (`boot` has changed) the marks may be older than the truth: then every meter
    may have lost what it read since its last envelope, which alone was forced to disk.
    """
    rows = db.execute("SELECT serial, epoch, boot, next_sequence, risk_ms, risk_reads FROM epoch WHERE is_ended = 0")
    for serial, epoch, its_boot, sequence, risk_ms, risk_reads in rows.fetchall():
        for mark in marks.meters.values():
            if mark.epoch != epoch:
                continue
            known = _known(db, serial, mark.meter)
            if mark.missed_reads and mark.missed_nth > known.missed_nth:
                yield mark.meter, missed(mark, sequence)
            if its_boot != boot:
                since = known.uptime_ms
                yield mark.meter, Lost(epoch, sequence, sequence, since, since + risk_ms, risk_reads, _POWER)
            elif mark.open and mark.nth > known.nth:
                asked = mark.uptime_ms
                yield mark.meter, Lost(epoch, sequence, sequence, asked, asked + _ANSWER_MS, 1, _KILLED)


class _Known:
    __slots__ = ("missed_nth", "nth", "uptime_ms")

    def __init__(self, nth: int, uptime_ms: int, missed_nth: int) -> None:
        self.nth, self.uptime_ms, self.missed_nth = nth, uptime_ms, missed_nth


def _known(db: sqlite3.Connection, serial: int, meter: int) -> _Known:
    sealed = db.execute(
        "SELECT sealed_nth, sealed_uptime_ms, missed_nth FROM meter WHERE serial = ? AND meter = ?", (serial, meter)
    ).fetchone()
    waiting = db.execute(
        "SELECT max(nth), max(uptime_ms) FROM waiting WHERE serial = ? AND meter = ?", (serial, meter)
    ).fetchone()
    nth, uptime_ms, missed_nth = sealed or (0, 0, 0)
    return _Known(max(nth, waiting[0] or 0), max(uptime_ms, waiting[1] or 0), missed_nth)


def lost_with_the_file(
    db: sqlite3.Connection, marks: Marks, damaged: list[Damaged]
) -> Iterator[tuple[int, Lost, EpochMark | None]]:
    """(meter, lost record, its epoch if the database does not know it) of what the file should hold and does not.

    The ranges are as wide as they must be: they may cover envelopes that did arrive.
    """
    for item in damaged:
        lost = Lost(item.epoch, item.sequence, item.sequence + 1, 0, item.last_uptime_ms, item.reads, _DAMAGED)
        yield item.meter, lost, None
    known = {row[0] for row in db.execute("SELECT epoch FROM epoch")}
    for mark in sorted(marks.epochs.values(), key=lambda mark: mark.serial):
        if mark.epoch in known:
            continue
        yield 0, Lost(mark.epoch, mark.stored_end, mark.next_sequence, 0, 0, 0, _BROKEN), mark
        for meter in marks.meters.values():
            reads = meter.nth - meter.stored_nth
            if meter.epoch == mark.epoch and reads > 0:
                end = max(meter.stored_uptime_ms, meter.uptime_ms + _ANSWER_MS)
                where = (mark.epoch, mark.next_sequence, mark.next_sequence)
                yield meter.meter, Lost(*where, meter.stored_uptime_ms, end, reads, _BROKEN), None
