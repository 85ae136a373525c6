"""The outbox's SQLite file: its tables, whether it is whole, and what its errors mean."""

import itertools
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from terang.values.envelope import envelope_hash
from terang.values.errors import DeviceError, OutboxBroken, OutboxFull

__all__ = ["Damaged", "damaged_envelopes", "fault", "open_file", "set_aside", "used_bytes"]

_PAGE_BYTES = 4096
_WAL_BYTES = 4 * 1024 * 1024
_FULL_CODES = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
_BROKEN_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY_CODE = 0xFF

_TABLES = """
CREATE TABLE IF NOT EXISTS epoch (
    serial INTEGER PRIMARY KEY, epoch BLOB NOT NULL UNIQUE, boot TEXT NOT NULL, started_ms INTEGER NOT NULL,
    next_sequence INTEGER NOT NULL DEFAULT 0, stored_end INTEGER NOT NULL DEFAULT 0,
    anchored_end INTEGER NOT NULL DEFAULT 0, is_ended INTEGER NOT NULL DEFAULT 0, is_dated INTEGER NOT NULL DEFAULT 0,
    risk_ms INTEGER NOT NULL, risk_reads INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS waiting (
    serial INTEGER NOT NULL, meter INTEGER NOT NULL, nth INTEGER NOT NULL, uptime_ms INTEGER NOT NULL,
    utc_ms INTEGER, clock INTEGER NOT NULL, reads BLOB NOT NULL,
    PRIMARY KEY (serial, meter, nth)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS envelope (
    id INTEGER PRIMARY KEY AUTOINCREMENT, serial INTEGER NOT NULL, sequence INTEGER NOT NULL, meter INTEGER NOT NULL,
    reads INTEGER NOT NULL, last_nth INTEGER NOT NULL, last_uptime_ms INTEGER NOT NULL, hash BLOB NOT NULL,
    data BLOB NOT NULL, UNIQUE (serial, sequence)) STRICT;
CREATE TABLE IF NOT EXISTS meter (
    serial INTEGER NOT NULL, meter INTEGER NOT NULL, sealed_nth INTEGER NOT NULL DEFAULT 0,
    sealed_uptime_ms INTEGER NOT NULL DEFAULT 0, missed_nth INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (serial, meter)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tip (one INTEGER PRIMARY KEY CHECK (one = 1), previous BLOB NOT NULL) STRICT;
"""


class Damaged(NamedTuple):
    """An envelope whose bytes have changed on disk."""

    epoch: bytes
    sequence: int
    meter: int
    reads: int
    last_uptime_ms: int


def fault(error: sqlite3.Error) -> DeviceError:
    """What a SQLite error means here: no room, a broken file, or a disk that does not write."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code in _FULL_CODES or code & _PRIMARY_CODE == sqlite3.SQLITE_FULL:
        return OutboxFull("no room to keep readings")
    if code & _PRIMARY_CODE in _BROKEN_CODES:
        return OutboxBroken(f"the outbox file is broken: {error}")
    return DeviceError(f"the outbox cannot be written: {error}")


def open_file(path: Path, max_bytes: int) -> sqlite3.Connection:
    """The outbox's database, made where there is none, for this process alone.

    Raises OutboxBroken where SQLite finds it damaged, OutboxFull or DeviceError where it cannot be opened.
    A commit is safe from a killed process at once, and from a power cut when `synchronous` is FULL at that moment.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1)
    except (OSError, sqlite3.Error) as error:
        raise DeviceError(f"the outbox {path} cannot be opened: {error}") from error
    try:
        # without shared memory SQLite keeps the index of its log on its heap: no other process may look in, and a
        # full disk cannot take the mapped page away
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(f"PRAGMA max_page_count={max_bytes // _PAGE_BYTES}")
        answer = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            raise OutboxBroken(f"the outbox file is broken: {answer}")
        db.executescript(_TABLES)
    except sqlite3.Error as error:
        db.close()
        raise fault(error) from error
    except OutboxBroken:
        db.close()
        raise
    return db


def damaged_envelopes(db: sqlite3.Connection) -> list[Damaged]:
    """The envelopes whose bytes no longer have the hash that was written beside them; they are taken out."""
    rows = db.execute(
        "SELECT id, epoch.epoch, sequence, meter, reads, last_uptime_ms, hash, data"
        " FROM envelope JOIN epoch USING (serial) ORDER BY id"
    )
    damaged = [(row[0], Damaged(*row[1:6])) for row in rows if envelope_hash(row[7]) != row[6]]
    db.executemany("DELETE FROM envelope WHERE id = ?", [(row_id,) for row_id, _ in damaged])
    return [item for _, item in damaged]


def set_aside(path: Path) -> Path:
    """The new name of a broken outbox file; a person may look into it, the agent begins a new one."""
    for number in itertools.count(1):
        target = path.with_name(f"{path.name}.broken-{number}")
        if target.exists():
            continue
        try:
            path.rename(target)
            with suppress(FileNotFoundError):
                path.with_name(path.name + "-wal").rename(target.with_name(target.name + "-wal"))
        except OSError as error:
            raise DeviceError(f"the broken outbox {path} cannot be set aside: {error.strerror}") from error
        return target
    raise AssertionError


def used_bytes(db: sqlite3.Connection) -> int:
    """What the outbox holds, without the pages that it could use again."""
    pages: int = db.execute("PRAGMA page_count").fetchone()[0]
    free: int = db.execute("PRAGMA freelist_count").fetchone()[0]
    return (pages - free) * _PAGE_BYTES
