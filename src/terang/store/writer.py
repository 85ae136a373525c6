"""The one writer: one transaction a group, driver-level SQL because every reading passes here.

Rows are tuples in the column order that each statement names. Nothing here decides anything.
"""

import contextlib
import importlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from terang.store.connection import WriterLock, open_for_writing
from terang.values.errors import StoreError

__all__ = ["SCHEMA", "Row", "StoreWriter"]

SCHEMA = "0001"
"""The newest migration."""

Row = tuple[Any, ...]

_RECORD = (
    "INSERT INTO record(position, kind, leaf, received_ms, epoch_id, sequence, variant, meter_id, state, reason)"
    " VALUES(?,?,?,?,?,?,?,?,?,?)"
)
_HELD = "INSERT INTO held(position, data) VALUES(?,?)"
_READING = (
    "INSERT INTO reading(meter_id, first_ms, position, last_ms, count, attested_by, regular, body)"
    " VALUES(?,?,?,?,?,?,?,?)"
)
_UNDATED = (
    "INSERT INTO undated(epoch_id, position, meter_id, uptime_ms, utc_ms, attested_by, body) VALUES(?,?,?,?,?,?,?)"
)
_LATEST = (
    "INSERT OR REPLACE INTO latest(meter_id, time_ms, received_ms, position, voltage_mv, current_ma, power_mw,"
    " energy_mwh, frequency_millihz, power_factor_permille, readings, confirmed_mwh, provisional_mwh, regular, state)"
    " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_HOUR = (
    "INSERT INTO hour(meter_id, hour_ms, confirmed_mwh, provisional_mwh, power_sum_mw, power_max_mw, readings)"
    " VALUES(?,?,?,?,?,?,?) ON CONFLICT(meter_id, hour_ms) DO UPDATE SET"
    " confirmed_mwh = confirmed_mwh + excluded.confirmed_mwh,"
    " provisional_mwh = provisional_mwh + excluded.provisional_mwh,"
    " power_sum_mw = power_sum_mw + excluded.power_sum_mw,"
    " power_max_mw = max(power_max_mw, excluded.power_max_mw),"
    " readings = readings + excluded.readings"
)
_EPOCH = (
    "UPDATE epoch SET stored_end=?, anchored_end=?, from_utc_ms=?, to_utc_ms=?, fix_uptime_ms=?, fix_utc_ms=?"
    " WHERE id=?"
)
_STEP = (
    "INSERT INTO step(meter_id, from_ms, to_ms, provisional_mwh, reason) VALUES(?,?,?,?,?)"
    " ON CONFLICT(meter_id, from_ms, to_ms, reason) DO UPDATE SET provisional_mwh = excluded.provisional_mwh"
)
_NOTICE = 'INSERT OR IGNORE INTO notice(at_ms, topic, cause, meter_id, "values") VALUES(?,?,?,?,?)'
_LOST = (
    "INSERT INTO lost(position, meter_id, epoch, first_sequence, end_sequence, from_uptime_ms, to_uptime_ms, at_ms,"
    " reads, reason) VALUES(?,?,?,?,?,?,?,?,?,?)"
)
_QUARANTINE = "INSERT INTO quarantine(at_ms, topic, reason, detail, device, size, head) VALUES(?,?,?,?,?,?,?)"
_REFUSAL = (
    "INSERT INTO refusal(reason, count) VALUES(?,?) ON CONFLICT(reason) DO UPDATE SET count = count + excluded.count"
)
_QUARANTINE_ROWS = 1000


class StoreWriter:
    """Writes under the exclusive lock; `with writer.transaction():` is one commit."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = WriterLock(path)
        try:
            if _schema_of(path) != SCHEMA:
                # loaded only when there is something to do: alembic is large, and the core lives for months
                importlib.import_module("terang.store.migrate").migrate(path)
            self._db = open_for_writing(path)
            self._file = path.stat().st_ino
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Finish the write-ahead log and let another process become the writer."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        self._lock.release()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; StoreError if the commit fails, and then nothing of it stands."""
        self._need_file()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            raise StoreError(f"the store could not be written: {error}; is the disk full?") from error
        except BaseException:
            self._rollback()
            raise

    def _need_file(self) -> None:
        """A file that was deleted or replaced can still be written to, and what is written is gone with the process."""
        try:
            is_there = self.path.stat().st_ino == self._file
        except OSError:
            is_there = False
        if not is_there:
            raise StoreError(
                f"{self.path} was deleted or replaced while the platform runs: nothing more is taken. Stop the platform"
                " and bring the file back; devices keep what they have sent until then"
            )

    def _rollback(self) -> None:
        if self._db.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # then the next BEGIN fails, and this is tried again
                self._db.execute("ROLLBACK")

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the file, as for a measurement of its size."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows of a query inside the writer's own transaction; StoreError where they cannot be read."""
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the store cannot be read: {error}") from error

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement; the id of the row that it inserted, if it inserted one."""
        return self._db.execute(sql, values).lastrowid or 0

    def next_position(self) -> int:
        """Where the next record goes: the size of the log."""
        return int(self.rows("SELECT coalesce(max(position), -1) + 1 FROM record")[0][0])

    def add_records(self, rows: Iterable[Row]) -> None:
        """Records with their place in the log."""
        self._db.executemany(_RECORD, rows)

    def add_held(self, rows: Iterable[Row]) -> None:
        """(position, exact signed bytes) of records."""
        self._db.executemany(_HELD, rows)

    def add_readings(self, rows: Iterable[Row]) -> None:
        """Dated readings, one row an envelope."""
        self._db.executemany(_READING, rows)

    def add_undated(self, rows: Iterable[Row]) -> None:
        """Readings whose time is not known yet."""
        self._db.executemany(_UNDATED, rows)

    def put_latest(self, rows: Iterable[Row]) -> None:
        """The newest values and the fold state of meters."""
        self._db.executemany(_LATEST, rows)

    def add_hours(self, rows: Iterable[Row]) -> None:
        """Differences to the hourly sums; a maximum is never lowered."""
        self._db.executemany(_HOUR, rows)

    def put_epochs(self, rows: Iterable[Row]) -> None:
        """What is known of epochs; the last column is the epoch's id."""
        self._db.executemany(_EPOCH, rows)

    def add_steps(self, rows: Iterable[Row]) -> None:
        """Provisional steps that a person has to decide."""
        self._db.executemany(_STEP, rows)

    def add_notices(self, rows: Iterable[Row]) -> None:
        """Notices; one with a cause that is known already is not added again."""
        self._db.executemany(_NOTICE, rows)

    def add_lost(self, row: Row) -> None:
        """What a signed lost record says."""
        self._db.execute(_LOST, row)

    def add_refusals(self, quarantined: Sequence[Row], counts: dict[str, int]) -> None:
        """Refused bytes, of which the newest thousand are kept, and how many there were for each reason."""
        self._db.executemany(_QUARANTINE, quarantined[-_QUARANTINE_ROWS:])
        self._db.executemany(_REFUSAL, list(counts.items()))
        self._db.execute(
            "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (_QUARANTINE_ROWS,)
        )

    def find_identity(self, epoch_id: int, sequence: int) -> list[Row]:
        """(leaf, variant) of the records that have used up this sequence."""
        return self.rows("SELECT leaf, variant FROM record WHERE epoch_id=? AND sequence=?", (epoch_id, sequence))

    def segments(self, meter_id: int, from_ms: int, to_ms: int) -> list[Row]:
        """(first_ms, position, last_ms, count, regular, body) of envelopes that begin in [from_ms, to_ms], by time."""
        return self.rows(
            "SELECT first_ms, position, last_ms, count, regular, body FROM reading"
            " WHERE meter_id=? AND first_ms BETWEEN ? AND ? ORDER BY first_ms, position",
            (meter_id, from_ms, to_ms),
        )

    def segments_before(self, meter_id: int, before_ms: int, limit: int) -> list[Row]:
        """The same for the `limit` envelopes that begin before `before_ms`, newest first."""
        return self.rows(
            "SELECT first_ms, position, last_ms, count, regular, body FROM reading"
            " WHERE meter_id=? AND first_ms < ? ORDER BY first_ms DESC, position DESC LIMIT ?",
            (meter_id, before_ms, limit),
        )

    def segments_after(self, meter_id: int, after_ms: int, limit: int) -> list[Row]:
        """The same for the `limit` envelopes that begin after `after_ms`, oldest first."""
        return self.rows(
            "SELECT first_ms, position, last_ms, count, regular, body FROM reading"
            " WHERE meter_id=? AND first_ms > ? ORDER BY first_ms, position LIMIT ?",
            (meter_id, after_ms, limit),
        )

    def set_regular(self, rows: Iterable[Row]) -> None:
        """(regular, meter_id, first_ms, position) of envelopes whose flag changed with a late reading."""
        self._db.executemany("UPDATE reading SET regular=? WHERE meter_id=? AND first_ms=? AND position=?", rows)

    def save_tiles(self, rows: Iterable[Row]) -> None:
        """(level, index, hash) of complete subtrees; one that is kept already stays."""
        self._db.executemany('INSERT OR IGNORE INTO tile(level, "index", hash) VALUES(?,?,?)', rows)

    def save_batch(self, row: Row) -> None:
        """(old_size, new_size, root, proof, checkpoint, data, made_ms) of a batch that was cut."""
        old_size, new_size, root, proof, checkpoint, data, made_ms = row
        self._db.execute(
            "INSERT INTO batch(old_size, new_size, root, checkpoint, made_ms, bytes) VALUES(?,?,?,?,?,?)",
            (old_size, new_size, root, checkpoint, made_ms, len(data)),
        )
        self._db.execute("INSERT INTO batch_held(old_size, data, proof) VALUES(?,?,?)", (old_size, data, proof))

    def save_transaction(self, old_size: int, raw: bytes, transaction_hash: bytes) -> None:
        """The transaction under which a batch is about to be sent."""
        self._db.execute("UPDATE batch SET transaction_hash=? WHERE old_size=?", (transaction_hash, old_size))
        self._db.execute("UPDATE batch_held SET raw_transaction=? WHERE old_size=?", (raw, old_size))

    def save_anchored(self, row: Row) -> None:
        """(old_size, new_size, transaction hash, block number, block hash, index, ms): the batch stands in a block."""
        old_size, _, transaction_hash, number, block_hash, index, anchored_ms = row
        self._db.execute(
            "UPDATE batch SET transaction_hash=?, block_number=?, block_hash=?, transaction_index=?, anchored_ms=?"
            " WHERE old_size=?",
            (transaction_hash, number, block_hash, index, anchored_ms, old_size),
        )

    def forget_anchored(self, size: int) -> None:
        """No block holds the batches that end beyond `size` any more."""
        self._db.execute(
            "UPDATE batch SET block_number=NULL, block_hash=NULL, transaction_index=NULL, anchored_ms=NULL"
            " WHERE new_size > ?",
            (size,),
        )

    def release(self, begin: int, end: int) -> None:
        """Let go of the bytes of the batch of records [begin, end), which were read back from the chain just now; the
        few that the platform stated stay, because every proof needs some of them.
        """
        self._db.execute(
            "DELETE FROM held WHERE position >= ? AND position < ?"
            " AND position NOT IN (SELECT position FROM record WHERE kind = 2 AND position >= ? AND position < ?)",
            (begin, end, begin, end),
        )
        self._db.execute("DELETE FROM batch_held WHERE old_size=?", (begin,))

    def put_site(self, values: dict[str, str]) -> None:
        """Settings and status of the site."""
        self._db.executemany("INSERT OR REPLACE INTO site(key, value) VALUES(?,?)", list(values.items()))


def _schema_of(path: Path) -> str | None:
    if not path.exists():
        return None
    db = open_for_writing(path)
    try:
        row = db.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    finally:
        db.close()
    return str(row[0]) if row else None
