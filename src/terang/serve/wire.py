"""What the ledger's process asks of the core, which alone writes the store: calls over a pipe, one at a time."""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NamedTuple

from terang.ledger.drafts import Anchored, BatchDraft, Tile
from terang.values.errors import CoreError, StoreError

__all__ = [
    "Call",
    "ForgetAnchored",
    "LedgerDoor",
    "LedgerKeys",
    "Release",
    "SaveStatus",
    "SaveTiles",
    "SaveTransaction",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerKeys:
    """The site's id (32 bytes), the seed of the checkpoint's key and the log's name in checkpoints."""

    site: bytes
    checkpoint_seed: bytes
    origin: str


class SaveTiles(NamedTuple):
    """Keep complete subtrees."""

    tiles: tuple[Tile, ...]


class SaveTransaction(NamedTuple):
    """Keep the transaction of the batch that begins at `old_size`."""

    old_size: int
    raw: bytes
    transaction_hash: bytes


class ForgetAnchored(NamedTuple):
    """Batches that end beyond `size` stand in no block any more."""

    size: int


class Release(NamedTuple):
    """Let go of the bytes of a batch's records."""

    begin: int
    end: int


class SaveStatus(NamedTuple):
    """What the pages may say of chain and ledger; texts by name."""

    values: dict[str, str]


Call = SaveTiles | BatchDraft | SaveTransaction | Anchored | ForgetAnchored | Release | SaveStatus


class LedgerDoor:
    """The core as the ledger sees it: every call returns after the commit. Implements `anchoring.LogTarget`."""

    def __init__(self, connection: "Connection[Call, str]") -> None:
        self._connection = connection

    def save_tiles(self, tiles: tuple[Tile, ...]) -> None:
        """Keep the hashes of complete subtrees."""
        self._call(SaveTiles(tiles))

    def save_batch(self, draft: BatchDraft) -> None:
        """Keep a batch that was cut."""
        self._call(draft)

    def save_transaction(self, old_size: int, raw: bytes, transaction_hash: bytes) -> None:
        """Keep the transaction of a batch."""
        self._call(SaveTransaction(old_size, raw, transaction_hash))

    def forget_anchored(self, size: int) -> None:
        """Batches that end beyond `size` stand in no block any more."""
        self._call(ForgetAnchored(size))

    def save_anchored(self, anchored: Anchored) -> None:
        """Write back where a batch stands."""
        self._call(anchored)

    def release(self, begin: int, end: int) -> None:
        """Let go of the bytes of a batch's records."""
        self._call(Release(begin, end))

    def save_status(self, values: dict[str, str]) -> None:
        """Say how chain and ledger are."""
        self._call(SaveStatus(values))

    def _call(self, call: Call) -> None:
        try:
            self._connection.send(call)
            problem = self._connection.recv()
        except (EOFError, OSError) as error:
            raise CoreError("the core is gone; nothing more can be kept") from error
        if problem:
            raise StoreError(problem)
