"""The one door to a chain, embedded or remote: what the ledger asks of it, and the answers' types."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

__all__ = [
    "Activity",
    "Block",
    "BlockEvidence",
    "BlockId",
    "Chain",
    "ChainEvent",
    "ChainReader",
    "ChainStatus",
    "Log",
    "Receipt",
]

BlockId = int | Literal["latest"]


class Activity(StrEnum):
    """Whether new blocks can come."""

    SEALING = "sealing"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """An event a contract left in a receipt; `topics` are 32 bytes each, the first is the event's signature hash."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a transaction: its place in the chain and whether it did what it said.

    `succeeded` is False when the contract reverted: the block then proves that it was tried and refused. `gas_used`
    is this transaction's own [gas]. `contract_address` is set for a deployment.
    """

    tx_hash: bytes
    block_number: int
    block_hash: bytes
    index: int
    succeeded: bool
    gas_used: int
    contract_address: bytes | None
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """A log and where it stands: the transaction, its `index` in the block, the block."""

    log: Log
    tx_hash: bytes
    block_number: int
    block_hash: bytes
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEvidence:
    """A block's header in RLP, and its receipts in their encoded form, in order."""

    header: bytes
    receipts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One sealed block; `timestamp_ms` has whole seconds only, as the chain has; `size_bytes` is its RLP form.

    `signer` is the address recovered from the seal; of an engine whose seals are of another kind it is the address the
    node names as proposer.
    """

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp_ms: int
    signer: bytes
    size_bytes: int
    tx_hashes: tuple[bytes, ...]

    @property
    def tx_count(self) -> int:
        """How many transactions the block holds."""
        return len(self.tx_hashes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStatus:
    """Whether blocks can come, and if not, why, in words for the owner of the house; empty while all is well."""

    activity: Activity
    reason: str = ""


class ChainReader(Protocol):
    """What whoever only reads asks of a chain; each as in `Chain`."""

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """What became of a transaction."""
        ...

    def transaction(self, tx_hash: bytes) -> bytes | None:
        """The calldata of a sealed transaction."""
        ...

    def call(self, to: bytes, data: bytes) -> bytes:
        """What a contract answers now."""
        ...

    def block(self, block_id: BlockId) -> Block | None:
        """The block of this number, or the newest."""
        ...

    def evidence(self, number: int) -> BlockEvidence | None:
        """The header and the receipts of a block."""
        ...


class Chain(Protocol):
    """What the ledger needs of a chain. Every method may raise a ChainError that says what to do."""

    @property
    def chain_id(self) -> int:
        """The number that keeps a transaction of one chain from being replayed on another."""
        ...

    @property
    def base_fee(self) -> int:
        """The least `max_fee` [wei per gas] that the next block accepts."""
        ...

    def submit(self, raw: bytes) -> bytes:
        """Hand over a signed transaction and get its hash; the same bytes twice, even after sealing, are harmless.

        Raises ChainRefused when it can never execute as it stands. That it was taken promises nothing across a
        restart: only a receipt does, so the caller keeps the bytes until it has one.
        """
        ...

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """What became of the transaction, or None while no durable block holds it."""
        ...

    def block(self, block_id: BlockId) -> Block | None:
        """The block of this number, or the newest; None when there is no such block yet."""
        ...

    def transaction(self, tx_hash: bytes) -> bytes | None:
        """The calldata of a sealed transaction, as the contract got it; None when no block holds it."""
        ...

    def call(self, to: bytes, data: bytes) -> bytes:
        """What the contract answers now, without a transaction. Raises ChainRefused when it reverts."""
        ...

    def events(self, address: bytes, topics: tuple[bytes, ...], begin: int, end: int) -> list[ChainEvent]:
        """What the contract left in blocks [begin, end) whose first topics are these, in the order of the chain."""
        ...

    def evidence(self, number: int) -> BlockEvidence | None:
        """The header and the receipts of this block, as a proof needs them; None where there is no such block."""
        ...

    def code(self, address: bytes) -> bytes:
        """The code that stands at this address now; empty where there is no contract."""
        ...

    def nonce(self, address: bytes) -> int:
        """The next nonce of the account, with what waits for a block counted in."""
        ...

    def status(self) -> ChainStatus:
        """Whether blocks can come."""
        ...
