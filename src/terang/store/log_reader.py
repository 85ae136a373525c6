"""The log as the ledger reads it, beside the writer."""

import sqlite3
from pathlib import Path
from typing import NamedTuple

from terang.store.connection import begin_snapshot, open_for_reading
from terang.values.errors import StoreError

__all__ = ["LogReader", "StoredBatch", "StoredRecord"]


class StoredRecord(NamedTuple):
    """One record; `data` None once its bytes were released to the chain."""

    position: int
    kind: int
    leaf: bytes
    data: bytes | None


class StoredBatch(NamedTuple):
    """One batch; `proof`, `data` and `raw_transaction` None once the store has let go of them."""

    id: int
    old_size: int
    new_size: int
    root: bytes
    proof: bytes | None
    checkpoint: str
    data: bytes | None
    raw_transaction: bytes | None
    transaction_hash: bytes | None
    block_number: int | None
    block_hash: bytes | None
    transaction_index: int | None
    anchored_ms: int | None
    made_ms: int
    size_bytes: int


_BATCH = (
    "SELECT b.id, b.old_size, b.new_size, b.root, h.proof, b.checkpoint, h.data, h.raw_transaction, b.transaction_hash,"
    " b.block_number, b.block_hash, b.transaction_index, b.anchored_ms, b.made_ms, b.bytes FROM batch b"
    " LEFT JOIN batch_held h ON h.old_size = b.old_size"
)


class LogReader:
    """Records, leaves, tiles and batches; StoreError where they cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_for_reading(path)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def hold(self) -> tuple[object, ...]:
        """See the store as it is now from here on, whatever is written meanwhile; which moment that is."""
        try:
            return begin_snapshot(self._db)
        except sqlite3.Error as error:
            raise StoreError(f"the store cannot be read: {error}") from error

    def let_go(self) -> None:
        """See what is written again, after `hold`."""
        self._db.rollback()

    def size(self) -> int:
        """How many records the log has."""
        return self._number("SELECT coalesce(max(position), -1) + 1 FROM record")

    def records(self, begin: int, end: int) -> list[StoredRecord]:
        """Records [begin, end) in order."""
        rows = self._rows(
            "SELECT r.position, r.kind, r.leaf, h.data FROM record r LEFT JOIN held h ON h.position = r.position"
            " WHERE r.position >= ? AND r.position < ? ORDER BY r.position",
            (begin, end),
        )
        return [StoredRecord._make(row) for row in rows]

    def leaves(self, begin: int, end: int) -> list[bytes]:
        """Leaf hashes of records [begin, end); StoreError where one is missing in between."""
        rows = self._rows(
            "SELECT leaf, position FROM record WHERE position >= ? AND position < ? ORDER BY position", (begin, end)
        )
        if rows and rows[-1][1] != begin + len(rows) - 1:
            raise StoreError(f"a record between {begin} and {rows[-1][1]} is missing; run `terang audit`")
        return [row[0] for row in rows]

    def tiles(self, level: int, begin: int, end: int) -> list[bytes]:
        """Kept subtree hashes [begin, end) of a level; StoreError where one is missing in between."""
        rows = self._rows(
            'SELECT hash, "index" FROM tile WHERE level=? AND "index" >= ? AND "index" < ? ORDER BY "index"',
            (level, begin, end),
        )
        for number, row in enumerate(rows, begin):
            if row[1] != number:
                raise StoreError(f"subtree {number} of level {level} is missing; run `terang audit`")
        return [row[0] for row in rows]

    def cut_size(self) -> int:
        """How many records stand in batches, anchored or not."""
        return self._number("SELECT coalesce(max(new_size), 0) FROM batch")

    def anchored_size(self) -> int:
        """How many records stand on the chain."""
        return self._number("SELECT coalesce(max(new_size), 0) FROM batch WHERE block_hash IS NOT NULL")

    def unanchored(self) -> list[StoredBatch]:
        """Batches that are cut and not known to stand in a block, the oldest 200 of them first."""
        return self._batches(" WHERE b.block_hash IS NULL ORDER BY b.old_size LIMIT 200")

    def batches(self, begin: int = 0) -> list[StoredBatch]:
        """All batches from the one that begins at `begin` on."""
        return self._batches(" WHERE b.old_size >= ? ORDER BY b.old_size", begin)

    def newest_batch(self) -> StoredBatch | None:
        """The batch that was cut last."""
        found = self._batches(" ORDER BY b.old_size DESC LIMIT 1")
        return found[0] if found else None

    def releasable(self, before_ms: int) -> list[StoredBatch]:
        """Up to 100 batches that were anchored before this time and whose bytes the store still has."""
        held = " WHERE b.old_size IN (SELECT old_size FROM batch_held) AND b.anchored_ms < ?"
        held += " ORDER BY b.old_size LIMIT 100"
        return self._batches(held, before_ms)

    def batch_of(self, position: int) -> StoredBatch | None:
        """The batch in which this record stands."""
        found = self._batches(" WHERE b.new_size > ? ORDER BY b.new_size LIMIT 1", position)
        return found[0] if found and found[0].old_size <= position else None

    def site(self, key: str) -> str | None:
        """One setting of the site."""
        rows = self._rows("SELECT value FROM site WHERE key=?", (key,))
        return rows[0][0] if rows else None

    def _number(self, sql: str) -> int:
        value = self._rows(sql)[0][0]
        if not isinstance(value, int):
            raise StoreError(f"the store holds {value!r} where a number is due; run `terang audit`")
        return value

    def _batches(self, where: str, *values: int) -> list[StoredBatch]:
        return [StoredBatch._make(row) for row in self._rows(_BATCH + where, values)]

    def _rows(self, sql: str, values: tuple[int | str, ...] = ()) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the store cannot be read: {error}") from error
