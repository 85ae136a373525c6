"""What the ledger keeps in the store: each write is one transaction of the single writer, durable on return."""

from terang.ingest.receipts import EpochState
from terang.ledger.drafts import Anchored, BatchDraft, Tile
from terang.pipeline import Pipeline

__all__ = ["LogWriter"]


class LogWriter:
    """The writing side of the log, in the thread that writes the store. Implements `ledger.anchoring.LogTarget`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._writer = pipeline.writer

    def save_tiles(self, tiles: tuple[Tile, ...]) -> None:
        """Keep the hashes of complete subtrees."""
        with self._writer.transaction():
            self._writer.save_tiles(tiles)

    def save_batch(self, draft: BatchDraft) -> None:
        """Keep a batch that was cut."""
        with self._writer.transaction():
            self._writer.save_batch(draft)

    def save_transaction(self, old_size: int, raw: bytes, transaction_hash: bytes) -> None:
        """Keep the transaction under which the batch that begins at `old_size` is about to be sent."""
        with self._writer.transaction():
            self._writer.save_transaction(old_size, raw, transaction_hash)

    def forget_anchored(self, size: int) -> None:
        """Batches that end beyond `size` stand in no block any more."""
        self._pipeline.unanchor(size)

    def save_anchored(self, anchored: Anchored) -> dict[tuple[bytes, bytes], EpochState]:
        """Write back where a batch stands; the epochs of which more is anchored now, by device and epoch."""
        return self._pipeline.anchor(anchored)

    def release(self, begin: int, end: int) -> None:
        """Let go of the signed bytes of records [begin, end)."""
        with self._writer.transaction():
            self._writer.release(begin, end)

    def save_status(self, values: dict[str, str]) -> None:
        """Keep what the pages may say of chain and ledger; texts by name."""
        with self._writer.transaction():
            self._writer.put_site(values)
