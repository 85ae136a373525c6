"""Opening the store's SQLite file: as the one writer, or to read beside it."""

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import IO

from terang.values.errors import StoreError, StoreInUse

__all__ = ["WriterLock", "begin_snapshot", "open_for_reading", "open_for_writing"]

_BUSY_MS = 10_000


def open_for_writing(path: Path) -> sqlite3.Connection:
    """A connection whose commits survive a power cut: WAL, synchronous FULL. Transactions are begun by hand."""
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=OFF")  # one writer, which checks; a check a row would halve the speed
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        connection.execute("PRAGMA wal_autocheckpoint=4000")
    except sqlite3.Error as error:
        raise StoreError(f"cannot open the store {path}: {error}") from error
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, and reads beside the writer without waiting for it."""
    if not path.exists():
        raise StoreError(f"there is no store at {path}; `terang demo` or `terang serve` makes one")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as error:
        raise StoreError(f"cannot open the store {path}: {error}") from error
    return connection


def begin_snapshot(connection: sqlite3.Connection) -> tuple[object, ...]:
    """Let a reading connection see one moment of the store until it is closed; a mark that tells moments apart."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.execute("BEGIN")
    mark: tuple[object, ...] = connection.execute(
        "SELECT (SELECT max(position) FROM record), (SELECT max(id) FROM batch), (SELECT min(position) FROM held),"
        " (SELECT count(*) FROM batch WHERE block_hash IS NULL)"
    ).fetchone()
    return mark


class WriterLock:
    """Held by the one process that writes a store; the system lets go of it when that process dies."""

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.with_suffix(".lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            owner = self._file.read().strip() or "another process"
            self._file.close()
            raise StoreInUse(f"{path} is being written by process {owner}; stop it first") from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let another process become the writer."""
        self._file.close()
