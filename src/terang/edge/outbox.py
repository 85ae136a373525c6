"""Everything that was read stays here until it is anchored: first single readings, then signed envelopes.

A reading is committed before the next poll of its bus begins, so a killed process loses at most the frame that was
being read, and that frame was noted before it was asked for. Sealing is one transaction, forced to disk: the envelope
comes, its readings go, sequence and previous hash move. A power cut may take the readings since the last envelope.
"""

import secrets
import sqlite3
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from terang.edge import recovery
from terang.edge.marks import REASONS, EpochMark, Marks, MeterMark
from terang.edge.outbox_file import damaged_envelopes, fault, open_file, set_aside, used_bytes
from terang.edge.reserve import Reserve
from terang.edge.sealing import MAX_READINGS, Statement, Tip, Waiting, cut, readings_body, seal_next
from terang.edge.time_source import Moment, Uptime
from terang.values.envelope import EVENT, FIRST_PREVIOUS, LOST, READINGS, TIME, device_id, envelope_hash
from terang.values.errors import DeviceError, OutboxBroken, OutboxFull
from terang.values.reading import Event, Lost, TimeFix
from terang.values.receipt import EpochReceipt
from terang.values.signing import KeyPair

__all__ = ["Held", "Outbox", "Promise"]

_STOP_AT, _GO_ON_AT = 0.9, 0.8  # of max_bytes; the rest is for envelopes and lost records of what already waits
_MAX_EVENTS = 64
_VACUUM_PAGES = 1024
_SILENCE_MS = 60_000


class Held(NamedTuple):
    """One envelope in the outbox: `place` rises in the order of making; `data` are its exact signed bytes."""

    place: int
    serial: int
    sequence: int
    data: bytes


class Promise(NamedTuple):
    """What this run answers for: its meters' `quantities`, and how much a power cut may take from each meter."""

    quantities: tuple[int, ...]
    meters: tuple[int, ...]
    risk_ms: int
    risk_reads: int


class _Epoch:
    """What is known of one epoch without asking the disk."""

    __slots__ = ("anchored_end", "next_sequence", "serial", "stored_end")

    def __init__(self, serial: int, next_sequence: int, stored_end: int, anchored_end: int) -> None:
        self.serial, self.next_sequence = serial, next_sequence
        self.stored_end, self.anchored_end = stored_end, anchored_end


class Outbox:
    """The outbox in `folder`, with a new epoch begun; used by every thread of one process.

    Opening finishes what earlier epochs left: their waiting readings are sealed in their own epoch, reads without a
    result become lost records. Raises OutboxFull where there is no room to begin, DeviceError where nothing can be
    written. `found` says in one line each what was not as it should be; `trouble` is '' while readings are kept,
    else 'outbox_full', 'disk_full' or what the disk says; `broken` is set when the file must be opened anew.
    """

    def __init__(
        self, folder: Path, key: KeyPair, uptime: Uptime, promise: Promise, *, max_bytes: int, boot: str
    ) -> None:
        self._key, self._device, self._uptime = key, device_id(key.public), uptime
        self._quantities, self._max_bytes = promise.quantities, max_bytes
        self._pack = struct.Struct(f">{len(promise.quantities)}q")
        self._lock = threading.RLock()
        self._events: deque[tuple[int, Moment, Event]] = deque(maxlen=_MAX_EVENTS)
        self._since: dict[int, tuple[int, int, int]] = {}  # meter -> uptime of the first that waits, how many, last
        self._answering: set[int] = set()
        self._told_gone: set[tuple[bytes, int, int]] = set()
        self.epoch = secrets.token_bytes(8)
        self.found: list[str] = []
        self.trouble, self.broken, self.unkept = "", "", 0
        self.on_sealed: Callable[[], None] = _nothing
        self._reserve = Reserve(folder / "outbox.reserve")
        self._marks = Marks(folder / "outbox.marks")
        path = folder / "outbox.sqlite"
        try:
            try:
                self._open(path, promise, boot)
            except OutboxBroken as error:
                self.found = [f"{error}; it is kept as {set_aside(path).name}, and what it held is declared lost"]
                self._open(path, promise, boot)
        except BaseException:
            self._marks.close()
            raise

    # -- the beginning and the end of an epoch

    def _open(self, path: Path, promise: Promise, boot: str) -> None:
        self._db = open_file(path, self._max_bytes)
        try:
            self._begin(promise, boot)
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise fault(error) from error
            raise

    def _begin(self, promise: Promise, boot: str) -> None:
        newest = self._marks.newest_epoch()
        row = self._db.execute("SELECT previous FROM tip").fetchone()
        previous = row[0] if row else newest.previous if newest else FIRST_PREVIOUS
        self._tip = Tip(0, self.epoch, 0, previous)
        with self._forced_to_disk():
            self._db.execute("INSERT OR REPLACE INTO tip VALUES (1, ?)", (previous,))
            self._seal_what_waits()
            serial = 1 + max(newest.serial if newest else 0, self._one("SELECT ifnull(max(serial), 0) FROM epoch"))
            self._db.execute(
                "INSERT INTO epoch (serial, epoch, boot, started_ms, risk_ms, risk_reads) VALUES (?, ?, ?, ?, ?, ?)",
                (serial, self.epoch, boot, self._uptime.started_ms, promise.risk_ms, promise.risk_reads),
            )
            self._db.executemany(
                "INSERT INTO meter (serial, meter) VALUES (?, ?)", [(serial, m) for m in promise.meters]
            )
            self._tip = Tip(serial, self.epoch, 0, self._tip.previous)
            now = self._uptime.moment()
            self._put(Statement(EVENT, 0, now, Event("boot", 0)))
            self._declare_lost(now, boot)
            self._db.execute("UPDATE epoch SET is_ended = 1 WHERE serial < ?", (serial,))
        self._epochs = {
            row[0]: _Epoch(*row[1:])
            for row in self._db.execute("SELECT epoch, serial, next_sequence, stored_end, anchored_end FROM epoch")
        }
        mark = EpochMark(serial=serial, epoch=self.epoch, next_sequence=self._tip.sequence, previous=self._tip.previous)
        self._epoch_slot = self._marks.begin_epoch(mark)
        self._slots = {meter: self._marks.begin_meter(self.epoch, meter) for meter in promise.meters}
        for slot, old in self._marks.epochs.items():
            if old.epoch in self._epochs:
                old.next_sequence = self._epochs[old.epoch].next_sequence
                self._marks.write_epoch(slot)
        self._reserve.take()

    def _seal_what_waits(self) -> None:
        for serial, epoch, sequence in self._db.execute(
            "SELECT serial, epoch, next_sequence FROM epoch"
            " WHERE serial IN (SELECT DISTINCT serial FROM waiting) ORDER BY serial"
        ).fetchall():
            self._tip = Tip(serial, epoch, sequence, self._tip.previous)
            meters = self._db.execute("SELECT DISTINCT meter FROM waiting WHERE serial = ?", (serial,)).fetchall()
            for (meter,) in meters:
                self._seal_meter(meter)
            self._write_tip()

    def _declare_lost(self, now: Moment, boot: str) -> None:
        damaged = damaged_envelopes(self._db)
        if damaged:
            self.found.append(f"{len(damaged)} envelopes in the outbox were damaged on disk and are declared lost")
        for meter, lost in recovery.left_behind(self._db, self._marks, boot):
            self._put(Statement(LOST, meter, now, lost))
        unknown = list(recovery.lost_with_the_file(self._db, self._marks, damaged))
        for meter, lost, epoch in unknown:
            self._put(Statement(LOST, meter, now, lost))
            if epoch is not None:
                self._db.execute(
                    "INSERT INTO epoch (serial, epoch, boot, started_ms, next_sequence, stored_end, is_ended, risk_ms,"
                    " risk_reads) VALUES (?, ?, '', 0, ?, ?, 1, 0, 0)",
                    (epoch.serial, epoch.epoch, epoch.next_sequence, epoch.stored_end),
                )
        if unknown and not self.found:
            self.found.append("the outbox file was missing, and what it held is declared lost")

    def close(self) -> None:
        """Seal what waits, end the epoch cleanly and let go of the files; what cannot be sealed stays on disk."""
        with self._lock:
            with suppress(DeviceError):
                self.seal_due(-1)
                if not self.trouble:
                    with self._forced_to_disk():
                        self._db.execute("UPDATE epoch SET is_ended = 1 WHERE serial = ?", (self._tip.serial,))
            self._db.close()
            self._marks.close()

    # -- readings

    def intend(self, meter: int) -> int:
        """Note that a frame is about to be asked of this meter; its number in this epoch, from 1."""
        with self._lock:
            mark = self._mark(meter)
            mark.nth += 1
            mark.open, mark.uptime_ms = 1, self._uptime.now_ms()
            self._write_mark(meter)
            return mark.nth

    def record(self, meter: int, nth: int, moment: Moment, values: tuple[int, ...]) -> bool:
        """Keep this reading; False where there is no room: then it is counted and will be declared lost."""
        with self._lock:
            self._answering.add(meter)
            first, count, last = self._since.get(meter, (moment.uptime_ms, 0, -1))
            if moment.uptime_ms <= last:
                moment = moment._replace(uptime_ms=last + 1)
            if not self.trouble:
                row = (self._tip.serial, meter, nth, *moment, self._pack.pack(*values))
                try:
                    self._db.execute("INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                except sqlite3.Error as error:
                    self._fall(fault(error))
                else:
                    self._since[meter] = (first if count else moment.uptime_ms, count + 1, moment.uptime_ms)
                    self._mark(meter).open = 0  # in memory only: on disk the row itself says that the frame came
                    return True
            self.unkept += 1
            self._miss(meter, nth, self.trouble if self.trouble in REASONS else "disk_full")
            return False

    def pass_over(self, meter: int) -> None:
        """The frame came and was good, and is not to be recorded."""
        with self._lock:
            self._answering.add(meter)
            self._mark(meter).open = 0
            self._write_mark(meter)

    def miss(self, meter: int, nth: int, reason: str) -> None:
        """Frame `nth` will never become a reading; `reason` is one of REASONS. Declared in the next lost record."""
        with self._lock:
            self._answering.discard(meter)
            self._miss(meter, nth, reason)

    def _miss(self, meter: int, nth: int, reason: str) -> None:
        mark = self._mark(meter)
        if mark.missed_reads == 0:
            mark.missed_from_ms = mark.uptime_ms
        if mark.missed_reads == 0 or reason.endswith("_full"):
            mark.missed_reason = REASONS.index(reason)
        mark.open = 0
        mark.missed_reads += 1
        mark.missed_to_ms, mark.missed_nth = self._uptime.now_ms(), nth
        self._write_mark(meter)

    def _mark(self, meter: int) -> MeterMark:
        return self._marks.meters[self._slots[meter]]

    def _write_mark(self, meter: int) -> None:
        try:
            self._marks.write_meter(self._slots[meter])
        except DeviceError as error:
            self._fall(error)

    # -- sealing

    def say(self, event: Event, meter: int = 0) -> None:
        """Let the platform know of this with the next envelopes; the newest 64 are kept for that."""
        with self._lock:
            self._events.append((meter, self._uptime.moment(), event))

    def seal_due(self, wait_ms: int) -> int:
        """Seal each meter's readings, events and lost reads of which the first has waited `wait_ms` (-1: all).

        The number of envelopes made. Trouble with the disk is noted in `trouble`; then nothing was sealed.
        """
        with self._lock:
            now = self._uptime.moment()
            latest = now.uptime_ms - wait_ms
            due = [m for m, (first, n, _) in self._since.items() if n and (first <= latest or n >= MAX_READINGS)]
            late = [] if self.trouble else [m for m in self._slots if self._is_missing(m, latest, wait_ms)]
            events = [] if self.trouble else list(self._events)
            if not due and not late and not events:
                return 0
            before = self._tip.sequence
            try:
                with self._forced_to_disk():
                    for meter in due:
                        self._seal_meter(meter)
                    for meter in late:
                        self._seal_missed(meter, now)
                    for meter, moment, event in events:
                        self._put(Statement(EVENT, meter, moment, event))
            except DeviceError as error:
                self._fall(error)
                return 0
            for meter in due:
                self._since[meter] = (0, 0, self._since[meter][2])
            for meter in late:
                self._mark(meter).missed_reads = 0
                self._write_mark(meter)
            self._events.clear()
            self._note_tip()
            return self._tip.sequence - before

    def fix_time(self, moment: Moment, boot: str) -> None:
        """Sign what the calendar says: for this epoch, and for earlier ones of this boot that never knew it."""
        with self._lock:
            try:
                with self._forced_to_disk():
                    for serial, epoch, started_ms in self._undated(boot):
                        uptime_ms = moment.uptime_ms + self._uptime.started_ms - started_ms
                        body = TimeFix(epoch, uptime_ms, moment.utc_ms, moment.clock)
                        self._put(Statement(TIME, 0, moment, body))
                        self._db.execute("UPDATE epoch SET is_dated = 1 WHERE serial = ?", (serial,))
            except DeviceError as error:
                self._fall(error)
                return
            self._note_tip()

    def _undated(self, boot: str) -> list[tuple[int, bytes, int]]:
        return self._db.execute(
            "SELECT serial, epoch, started_ms FROM epoch WHERE boot = ? AND (is_dated = 0 OR serial = ?)"
            " AND (serial = ? OR EXISTS (SELECT 1 FROM envelope e WHERE e.serial = epoch.serial)) ORDER BY serial",
            (boot, self._tip.serial, self._tip.serial),
        ).fetchall()

    def _is_missing(self, meter: int, latest_ms: int, wait_ms: int) -> bool:
        """Whether a lost record is due; of a meter that stays silent at most one a minute."""
        mark = self._mark(meter)
        patience_ms = 0 if wait_ms < 0 or meter in self._answering else _SILENCE_MS
        return mark.missed_reads > 0 and mark.missed_from_ms <= latest_ms - patience_ms

    def _seal_missed(self, meter: int, now: Moment) -> None:
        mark = self._mark(meter)
        self._put(Statement(LOST, meter, now, recovery.missed(mark, self._tip.sequence)))
        self._db.execute(
            "UPDATE meter SET missed_nth = ? WHERE serial = ? AND meter = ?", (mark.missed_nth, self._tip.serial, meter)
        )

    def _seal_meter(self, meter: int) -> None:
        where = (self._tip.serial, meter)
        rows = self._db.execute(
            "SELECT nth, uptime_ms, utc_ms, clock, reads FROM waiting WHERE serial = ? AND meter = ? ORDER BY nth",
            where,
        ).fetchall()
        waiting = [Waiting(row[0], Moment(*row[1:4]), struct.unpack(f">{len(row[4]) // 8}q", row[4])) for row in rows]
        for run in cut(waiting):
            statement = Statement(READINGS, meter, run[0].moment, readings_body(run, self._quantities))
            self._put(statement, reads=len(run), last=run[-1])
        if rows:
            self._db.execute("DELETE FROM waiting WHERE serial = ? AND meter = ?", where)
            self._db.execute(
                "INSERT INTO meter (sealed_nth, sealed_uptime_ms, serial, meter) VALUES (?, ?, ?, ?) ON CONFLICT DO"
                " UPDATE SET sealed_nth = excluded.sealed_nth, sealed_uptime_ms = excluded.sealed_uptime_ms",
                (rows[-1][0], rows[-1][1], *where),
            )

    def _put(self, statement: Statement, reads: int = 0, last: Waiting | None = None) -> None:
        data, tip = seal_next(self._key, self._device, self._tip, statement)
        nth, uptime_ms = (last.nth, last.moment.uptime_ms) if last else (0, 0)
        self._db.execute(
            "INSERT INTO envelope (serial, sequence, meter, reads, last_nth, last_uptime_ms, hash, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*(tip.serial, tip.sequence - 1, statement.meter, reads, nth, uptime_ms), envelope_hash(data), data),
        )
        self._tip = tip

    @contextmanager
    def _forced_to_disk(self) -> Iterator[None]:
        """One transaction that a power cut cannot take back; the tip moves with it or not at all."""
        tip = self._tip
        try:
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._write_tip()
            self._db.execute("COMMIT")
        except BaseException as error:
            self._tip = tip
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                raise fault(error) from error
            raise
        finally:
            with suppress(sqlite3.Error):
                self._db.execute("PRAGMA synchronous=NORMAL")

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # SQLite may have done it already, or be too broken to
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _write_tip(self) -> None:
        tip = self._tip
        self._db.execute("UPDATE epoch SET next_sequence = ? WHERE serial = ?", (tip.sequence, tip.serial))
        self._db.execute("UPDATE tip SET previous = ?", (tip.previous,))

    def _note_tip(self) -> None:
        self._epochs[self.epoch].next_sequence = self._tip.sequence
        mark = self._marks.epochs[self._epoch_slot]
        mark.next_sequence, mark.previous = self._tip.sequence, self._tip.previous
        with suppress(DeviceError):  # the database has it; the mark is for the day when the database is broken
            self._marks.write_epoch(self._epoch_slot)
        self.on_sealed()

    # -- what the platform has

    def unstored(self, after: int, limit: int) -> list[Held]:
        """The next envelopes, in the order of making, that the platform has not yet said to have stored."""
        return self._held(
            "JOIN epoch USING (serial) WHERE id > ? AND sequence >= stored_end ORDER BY id LIMIT ?", (after, limit)
        )

    def held(self, epoch: bytes, first: int, end: int, limit: int) -> list[Held]:
        """Envelopes of this epoch that are still here, from `first` up to but not including `end`."""
        known = self._epochs.get(epoch)
        serial = known.serial if known else -1
        return self._held(
            "WHERE serial = ? AND sequence >= ? AND sequence < ? ORDER BY sequence LIMIT ?",
            (serial, min(first, 1 << 62), min(end, 1 << 62), limit),
        )

    def resend(self, epoch: bytes, first: int, end: int, limit: int) -> list[Held]:
        """What the platform asks for and is still here, at most `limit`.

        What was deleted because the platform had once anchored it can never come; a lost record says so.
        """
        with self._lock:
            known = self._epochs.get(epoch)
            if known is None:
                return []
            gone_end = min(end, known.anchored_end)
            if first < gone_end and (epoch, first, gone_end) not in self._told_gone:
                self._told_gone.add((epoch, first, gone_end))
                now = self._uptime.moment()
                try:
                    with self._forced_to_disk():
                        self._put(Statement(LOST, 0, now, Lost(epoch, first, gone_end, 0, 0, 0, "deleted")))
                except DeviceError as error:
                    self._fall(error)
                else:
                    self._note_tip()
            return self.held(epoch, first, end, limit)

    def last_unanchored(self) -> list[Held]:
        """The last envelope of each epoch that is stored and not known to be anchored.

        Sent again, it is answered with both numbers.
        """
        return self._held(
            "JOIN epoch USING (serial) WHERE sequence = stored_end - 1 AND sequence >= anchored_end ORDER BY id", ()
        )

    def _held(self, where: str, values: tuple[object, ...]) -> list[Held]:
        with self._lock:
            try:
                rows = self._db.execute(f"SELECT id, serial, sequence, data FROM envelope {where}", values)  # noqa: S608
                return [Held(*row) for row in rows]
            except sqlite3.Error as error:
                self._fall(fault(error))
                return []

    def stored_end(self, serial: int) -> int:
        """Below which sequence the platform has stored every envelope of the epoch with this serial."""
        return next((epoch.stored_end for epoch in self._epochs.values() if epoch.serial == serial), 0)

    def settle(self, receipts: Iterable[EpochReceipt]) -> bool:
        """Take the platform's word: stop sending what is stored, delete what is anchored.

        False, and nothing changes, where a receipt speaks of envelopes that were never made. Numbers never go back.
        """
        with self._lock:
            known = [(self._epochs[r.epoch], r) for r in receipts if r.epoch in self._epochs]
            if any(not r.anchored_end <= r.stored_end <= epoch.next_sequence for epoch, r in known):
                return False
            for epoch, r in known:
                if r.stored_end > epoch.stored_end or r.anchored_end > epoch.anchored_end:
                    self._settle(r.epoch, epoch, max(r.stored_end, epoch.stored_end), r.anchored_end)
            return True

    def _settle(self, name: bytes, epoch: _Epoch, stored_end: int, anchored_end: int) -> None:
        anchored_end = max(anchored_end, epoch.anchored_end)
        try:
            newly_stored = self._forget(epoch, stored_end, anchored_end)
        except DeviceError as error:
            self._fall(error)
            return
        epoch.stored_end, epoch.anchored_end = stored_end, anchored_end
        with suppress(DeviceError):
            for slot, mark in self._marks.epochs.items():
                if mark.epoch == name:
                    mark.stored_end = stored_end
                    self._marks.write_epoch(slot)
            for meter, nth, uptime_ms in newly_stored:
                if name == self.epoch and meter in self._slots:
                    mark_of = self._mark(meter)
                    mark_of.stored_nth, mark_of.stored_uptime_ms = nth, uptime_ms
                    self._marks.write_meter(self._slots[meter])

    def _forget(self, epoch: _Epoch, stored_end: int, anchored_end: int) -> list[tuple[int, int, int]]:
        """Delete what is anchored; (meter, frame, uptime) of the last reading of each meter that is newly stored."""
        serial = epoch.serial
        try:
            self._db.execute("BEGIN IMMEDIATE")
            newly_stored = self._db.execute(
                "SELECT meter, max(last_nth), max(last_uptime_ms) FROM envelope"
                " WHERE serial = ? AND sequence >= ? AND sequence < ? AND reads > 0 GROUP BY meter",
                (serial, epoch.stored_end, stored_end),
            ).fetchall()
            self._db.execute(
                "UPDATE epoch SET stored_end = ?, anchored_end = ? WHERE serial = ?", (stored_end, anchored_end, serial)
            )
            self._db.execute("DELETE FROM envelope WHERE serial = ? AND sequence < ?", (serial, anchored_end))
            self._db.execute("COMMIT")
            return newly_stored
        except sqlite3.Error as error:
            self._roll_back()
            raise fault(error) from error

    # -- room

    def look_at_room(self) -> None:
        """Stop recording before the outbox is full, begin again when there is room; give unused room back."""
        with self._lock:
            try:
                used = used_bytes(self._db)
                if not self.trouble and used >= _STOP_AT * self._max_bytes:
                    self._stop_keeping("outbox_full")
                elif self.trouble == "outbox_full" and used <= _GO_ON_AT * self._max_bytes:
                    self._keep_again()
                elif self.trouble and self.trouble != "outbox_full" and self._reserve.take():
                    self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
                    self._write_tip()
                    self._keep_again()
                if self._db.execute("PRAGMA freelist_count").fetchone()[0] > 2 * _VACUUM_PAGES:
                    self._db.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
            except sqlite3.Error as error:
                self._fall(fault(error))

    def _keep_again(self) -> None:
        self.trouble, self.unkept = "", 0

    def _stop_keeping(self, trouble: str) -> None:
        if self.trouble != trouble:
            self.trouble = trouble
            self._events.append((0, self._uptime.moment(), Event(trouble if trouble in REASONS else "disk_full", 0)))

    def _fall(self, error: DeviceError) -> None:
        if isinstance(error, OutboxBroken):
            self.broken = str(error)
        if isinstance(error, OutboxFull):
            self._stop_keeping("outbox_full" if self._is_at_limit() else "disk_full")
        else:
            self._stop_keeping(str(error))
        self._reserve.release()

    def _is_at_limit(self) -> bool:
        try:
            return self._one("PRAGMA page_count") >= self._one("PRAGMA max_page_count") - 2
        except sqlite3.Error:
            return False

    def _one(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])

    def counts(self) -> dict[str, int]:
        """For the state file: envelopes held and not yet stored, readings that wait, bytes, reads not kept."""
        with self._lock:
            try:
                return {
                    "held": self._one("SELECT count(*) FROM envelope"),
                    "unstored": self._one(
                        "SELECT count(*) FROM envelope JOIN epoch USING (serial) WHERE sequence >= stored_end"
                    ),
                    "waiting": sum(count for _, count, _ in self._since.values()),
                    "bytes": used_bytes(self._db),
                    "unkept": self.unkept,
                }
            except sqlite3.Error as error:
                self._fall(fault(error))
                return {}


def _nothing() -> None:
    """Nobody waits for envelopes."""
