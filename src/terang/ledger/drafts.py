"""What the ledger hands to whoever writes the store: plain values, so that the writer needs to know no chain."""

from typing import NamedTuple

__all__ = ["Anchored", "BatchDraft", "Tile"]


class Tile(NamedTuple):
    """The hash over the complete subtree `number` of `level`."""

    level: int
    number: int
    hash: bytes


class BatchDraft(NamedTuple):
    """A batch to be kept before anything of it is sent."""

    old_size: int
    new_size: int
    root: bytes
    proof: bytes
    checkpoint: str
    data: bytes
    made_ms: int


class Anchored(NamedTuple):
    """A batch stands in a block."""

    old_size: int
    new_size: int
    transaction_hash: bytes
    block_number: int
    block_hash: bytes
    transaction_index: int
    anchored_ms: int
