"""The embedded chain on disk: one SQLite file, one transaction a block, one writer under a lock.

Headers, bodies and receipts stay for good, compressed; state nodes carry the number of the block that wrote them last,
which is what pruning goes by.
"""

import fcntl
import os
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import rlp
from eth_utils.crypto import keccak

from terang.ledger.clique import Header
from terang.values.errors import ChainCorrupt, ChainError, ChainInUse

__all__ = ["ChainStore", "StoredBlock"]

# Each block touches some twenty pages of trie nodes and indexes. Measured at 3 kB a batch: pages of 1 kB write 29 kB of
# journal a block, 4 kB 60, 16 kB 149, and take the same room; memory cards wear out by what is written.
_PAGE_BYTES: Final = 1_024
_CACHED_NODES: Final = 4_096
_SCHEMA: Final = """
create table block(number integer primary key, hash blob not null, header blob not null, body blob not null);
create unique index block_hash on block(hash);
create table place(tx_hash blob primary key, number integer not null, position integer not null) without rowid;
create table state(hash blob primary key, born integer not null, value blob not null) without rowid;
pragma user_version = 1;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlock:
    """A block as stored: its header, and transactions and receipts in their encoded forms, in order."""

    header: Header
    hash: bytes
    transactions: tuple[bytes, ...]
    receipts: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The block's RLP form, as peers exchange it."""
        # A legacy transaction is an RLP list of its own, a typed one a byte string (EIP-2718).
        items = [rlp.decode(raw) if raw[0] >= 0xC0 else raw for raw in self.transactions]  # noqa: PLR2004
        return bytes(rlp.encode([self.header.items(), items, []]))


class ChainStore:
    """Blocks and state of one chain in `directory`.

    Opening for writing takes an exclusive lock (ChainInUse when another holds it); any number may read beside it.
    """

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self.path = directory / "chain.sqlite"
        self._lock: int | None = None
        self._cache: OrderedDict[bytes, bytes] = OrderedDict()
        if not read_only:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = _take_lock(directory / "chain.lock")
        try:
            self._db = self._connect(read_only=read_only)
        except BaseException:
            self._release()
            raise

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        try:
            mode = "ro" if read_only else "rwc"
            # One connection is shared by threads; the chain above it lets one at a time in.
            db = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise ChainError(f"cannot open the chain at {self.path}: {error}") from error
        try:
            if not read_only:
                db.execute(f"pragma page_size={_PAGE_BYTES}")
                db.execute("pragma journal_mode=wal")
                db.execute("pragma synchronous=full")
            version = db.execute("pragma user_version").fetchone()[0]
            if version == 0 and not read_only:
                db.executescript("begin;" + _SCHEMA + "commit;")
            elif version != 1:
                raise ChainCorrupt(f"{self.path} has layout {version}; this program reads layout 1")
        except sqlite3.Error as error:
            db.close()
            raise ChainError(f"cannot read the chain at {self.path}: {error}") from error
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Give up the file and the lock."""
        self._db.close()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ChainError(f"the chain's file {self.path} failed: {error}; check the disk") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it durable at the end, or nothing of it done."""
        with self._translated():
            self._db.execute("begin immediate")
            try:
                yield
                self._db.execute("commit")
            except BaseException:
                # A full disk makes SQLite roll back by itself.
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    def state(self, key: bytes) -> bytes | None:
        """The trie node or code of this hash, or None."""
        value = self._cache.get(key)
        if value is not None:
            self._cache.move_to_end(key)
            return value
        with self._translated():
            row = self._db.execute("select value from state where hash=?", (key,)).fetchone()
        if row is None:
            return None
        self._remember(key, row[0])
        return bytes(row[0])

    def _remember(self, key: bytes, value: bytes) -> None:
        self._cache[key] = value
        if len(self._cache) > _CACHED_NODES:
            self._cache.popitem(last=False)

    def append(self, block: StoredBlock, state: Mapping[bytes, bytes]) -> None:
        """Make the block and the state it wrote durable, both or neither."""
        number = block.header.number
        body = zlib.compress(rlp.encode([list(block.transactions), list(block.receipts)]), 9)
        with self._transaction():
            # A node that comes back must look young again, or a sweep begun before would take it away.
            self._db.executemany(
                "insert into state values(?,?,?) on conflict(hash) do update set born=excluded.born",
                ((key, number, value) for key, value in state.items()),
            )
            self._db.execute(
                "insert into block values(?,?,?,?)",
                (number, block.hash, zlib.compress(block.header.encode(), 9), body),
            )
            self._db.executemany("insert into place values(?,?,?)", _places(block))

    def head(self) -> Header | None:
        """The newest header, or None in a chain without a genesis."""
        return self._header("order by number desc limit 1", ())

    def header(self, number: int) -> Header | None:
        """The header of this number."""
        return self._header("where number=?", (number,))

    def _header(self, where: str, values: tuple[int, ...]) -> Header | None:
        with self._translated():
            row = self._db.execute(f"select header from block {where}", values).fetchone()  # noqa: S608
        return None if row is None else Header.decode(_unpack(row[0]))

    def header_rlp(self, block_hash: bytes) -> bytes | None:
        """The header of this block hash in RLP form."""
        with self._translated():
            row = self._db.execute("select header from block where hash=?", (block_hash,)).fetchone()
        return None if row is None else _unpack(row[0])

    def number_of(self, block_hash: bytes) -> int | None:
        """The number of the block with this hash."""
        with self._translated():
            row = self._db.execute("select number from block where hash=?", (block_hash,)).fetchone()
        return None if row is None else int(row[0])

    def block(self, number: int) -> StoredBlock | None:
        """The whole block of this number."""
        with self._translated():
            row = self._db.execute("select hash, header, body from block where number=?", (number,)).fetchone()
        if row is None:
            return None
        transactions, receipts = rlp.decode(_unpack(row[2]))
        return StoredBlock(
            header=Header.decode(_unpack(row[1])),
            hash=bytes(row[0]),
            transactions=tuple(transactions),
            receipts=tuple(receipts),
        )

    def place(self, tx_hash: bytes) -> tuple[int, int] | None:
        """Block number and position of a transaction."""
        with self._translated():
            row = self._db.execute("select number, position from place where tx_hash=?", (tx_hash,)).fetchone()
        return None if row is None else (int(row[0]), int(row[1]))

    def old_state(self, *, born_until: int, after: bytes, limit: int) -> list[bytes]:
        """Up to `limit` hashes above `after`, in order, of nodes last written at or before block `born_until`."""
        with self._translated():
            rows = self._db.execute(
                "select hash from state where hash>? and born<=? order by hash limit ?", (after, born_until, limit)
            ).fetchall()
        return [bytes(row[0]) for row in rows]

    def forget_state(self, keys: Iterable[bytes], *, born_until: int) -> None:
        """Delete these nodes, but none that a block after `born_until` wrote again."""
        doomed = [(key, born_until) for key in keys]
        with self._transaction():
            self._db.executemany("delete from state where hash=? and born<=?", doomed)
        for key, _ in doomed:
            self._cache.pop(key, None)

    def state_count(self) -> int:
        """How many nodes and codes are stored."""
        with self._translated():
            return int(self._db.execute("select count(*) from state").fetchone()[0])

    def size_bytes(self) -> int:
        """What the chain takes on disk, journal included [B]."""
        parts = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def checkpoint(self) -> None:
        """Move the journal into the file and empty it, so that a copy of the file alone is whole."""
        with self._translated():
            self._db.execute("pragma wal_checkpoint(truncate)")


def _places(block: StoredBlock) -> Iterator[tuple[bytes, int, int]]:
    for position, raw in enumerate(block.transactions):
        yield keccak(raw), block.header.number, position


def _unpack(value: bytes) -> bytes:
    try:
        return zlib.decompress(value)
    except zlib.error as error:
        raise ChainCorrupt(f"a stored block is damaged: {error}; restore the chain from a copy") from error


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ChainInUse(f"another process writes the chain in {path.parent}; stop it first") from error
    return descriptor
