"""Reading an embedded chain: blocks, receipts and calls, from the writer itself or beside it."""

from collections.abc import Iterator
from pathlib import Path

import rlp
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth_utils.crypto import keccak

from terang.ledger.chain import Block, BlockEvidence, BlockId, ChainEvent, Receipt
from terang.ledger.chain_store import ChainStore, StoredBlock
from terang.ledger.clique import Header, check_header, check_seal, signer_of
from terang.ledger.evidence import decode_receipt
from terang.ledger.evm import Evm, base_fee_after, bloom_of, decode_transaction, ordered_root
from terang.ledger.genesis import Genesis
from terang.values.errors import ChainCorrupt, ChainError

__all__ = ["ChainView", "read_genesis"]


def read_genesis(directory: Path) -> Genesis | None:
    """The genesis of the chain in this directory, or None where there is none yet."""
    try:
        return Genesis.from_json((directory / "genesis.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ChainError(f"cannot read {directory / 'genesis.json'}: {error}") from error


class ChainView:
    """The chain as it stands on disk, open beside a running writer too.

    State older than the last 128 blocks may be gone; blocks and receipts never are.
    """

    def __init__(self, store: ChainStore, genesis: Genesis) -> None:
        self._store = store
        self.genesis = genesis
        self.evm = Evm(chain_id=genesis.chain_id, read_state=store.state, find_header=store.header_rlp)

    @classmethod
    def open_read_only(cls, directory: Path) -> "ChainView":
        """A view of the chain in `directory`; raises ChainError when there is none."""
        genesis = read_genesis(directory)
        if genesis is None:
            raise ChainError(f"there is no chain in {directory}")
        return ChainView(ChainStore(directory, read_only=True), genesis)

    def close(self) -> None:
        """Give up the files."""
        self._store.close()

    @property
    def chain_id(self) -> int:
        """See Chain."""
        return self.genesis.chain_id

    @property
    def base_fee(self) -> int:
        """See Chain."""
        return base_fee_after(self.head())

    def head(self) -> Header:
        """The newest header."""
        head = self._store.head()
        if head is None:
            raise ChainCorrupt("the chain has no genesis block; delete its directory or restore it from a copy")
        return head

    def block(self, block_id: BlockId) -> Block | None:
        """See Chain."""
        stored = self.stored(block_id)
        if stored is None:
            return None
        header = stored.header
        return Block(
            number=header.number,
            hash=stored.hash,
            parent_hash=header.parent_hash,
            timestamp_ms=header.timestamp_s * 1000,
            # Nobody seals a genesis.
            signer=signer_of(header) if header.number else bytes(20),
            size_bytes=len(stored.encode()),
            tx_hashes=tuple(keccak(raw) for raw in stored.transactions),
        )

    def stored(self, block_id: BlockId) -> StoredBlock | None:
        """The whole block, transactions and receipts encoded."""
        return self._store.block(self.head().number if block_id == "latest" else block_id)

    def number_of(self, block_hash: bytes) -> int | None:
        """The number of the block with this hash."""
        return self._store.number_of(block_hash)

    def place(self, tx_hash: bytes) -> tuple[int, int] | None:
        """Block number and position of a sealed transaction."""
        return self._store.place(tx_hash)

    def header(self, number: int) -> Header | None:
        """The header of this number."""
        return self._store.header(number)

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """See Chain."""
        place = self._store.place(tx_hash)
        stored = None if place is None else self._store.block(place[0])
        if place is None or stored is None:
            return None
        return self.receipt_at(stored, place[1])

    def receipt_at(self, stored: StoredBlock, index: int) -> Receipt:
        """The receipt of one transaction of this block."""
        transaction = decode_transaction(stored.transactions[index], self.chain_id)
        succeeded, gas, logs = decode_receipt(stored.receipts[index])
        before = decode_receipt(stored.receipts[index - 1])[1] if index else 0
        deployed = None
        if transaction.to == CREATE_CONTRACT_ADDRESS:
            deployed = keccak(rlp.encode([transaction.sender, transaction.nonce]))[12:]
        return Receipt(
            tx_hash=bytes(transaction.hash),
            block_number=stored.header.number,
            block_hash=stored.hash,
            index=index,
            succeeded=succeeded,
            gas_used=gas - before,
            contract_address=deployed,
            logs=logs,
        )

    def transaction(self, tx_hash: bytes) -> bytes | None:
        """See Chain."""
        place = self._store.place(tx_hash)
        stored = None if place is None else self._store.block(place[0])
        if place is None or stored is None:
            return None
        return bytes(decode_transaction(stored.transactions[place[1]], self.chain_id).data)

    def call(self, to: bytes, data: bytes) -> bytes:
        """See Chain."""
        return self.evm.call(self.head(), to=to, data=data)

    def events(self, address: bytes, topics: tuple[bytes, ...], begin: int, end: int) -> list[ChainEvent]:
        """See Chain."""
        found = []
        for number in range(max(begin, 0), min(end, self.head().number + 1)):
            header = self._store.header(number)
            # An empty bloom is what a block without events has: no need to unpack its body.
            stored = self._store.block(number) if header is not None and any(header.bloom) else None
            for index, raw in enumerate(stored.receipts if stored is not None else ()):
                for log in decode_receipt(raw)[2]:
                    if stored is not None and log.address == address and log.topics[: len(topics)] == topics:
                        where = (keccak(stored.transactions[index]), number, stored.hash, index)
                        found.append(ChainEvent(log, *where))
        return found

    def evidence(self, number: int) -> BlockEvidence | None:
        """See Chain."""
        stored = self._store.block(number)
        return None if stored is None else BlockEvidence(header=stored.header.encode(), receipts=stored.receipts)

    def code(self, address: bytes) -> bytes:
        """See Chain."""
        return self.evm.account(self.head(), address).code

    def nonce(self, address: bytes) -> int:
        """The account's next nonce as of the head."""
        return self.evm.account(self.head(), address).nonce

    def export_blocks(self) -> Iterator[bytes]:
        """Every block after the genesis in RLP form, in order: what `geth import` and other clients take.

        Of a chain that is being sealed, ask a read-only view.
        """
        for number in range(1, self.head().number + 1):
            stored = self._store.block(number)
            if stored is None:
                raise ChainCorrupt(f"block {number} is missing below the head; restore the chain from a copy")
            yield stored.encode()

    def verify(self, now_s: int) -> int:
        """The head's number, after every block's links, seal, times, roots, bloom and index were found right.

        Raises ChainCorrupt that names the first block that is not. Transactions are not executed again. It takes about
        0.3 ms a block: of a chain that is being sealed, ask a read-only view.
        """
        made, _ = self.evm.make_genesis(self.genesis)
        parent = self._store.header(0)
        if parent is None or parent != made:
            raise ChainCorrupt("block 0 is not that of the genesis document")
        head = self.head()
        if self._store.state(head.state_root) is None:
            raise ChainCorrupt("the state of the head is missing; restore the chain from a copy")
        rules = self.genesis.rules
        recent: list[bytes] = []
        for number in range(1, head.number + 1):
            stored = self._store.block(number)
            if stored is None:
                raise ChainCorrupt(f"block {number} is missing")
            check_header(stored.header, parent, rules, now_s)
            recent.insert(0, check_seal(stored.header, recent, rules))
            del recent[len(rules.signers) :]
            self._verify_body(stored)
            parent = stored.header
        return head.number

    def _verify_body(self, stored: StoredBlock) -> None:
        header = stored.header
        receipts = [decode_receipt(raw) for raw in stored.receipts]
        logs = [log for _, _, found in receipts for log in found]
        places = [self._store.place(keccak(raw)) for raw in stored.transactions]
        faults = {
            "hash": header.hash != stored.hash,
            "transactions": ordered_root(stored.transactions) != header.transactions_root,
            "receipts": ordered_root(stored.receipts) != header.receipts_root,
            "bloom": bloom_of(logs) != header.bloom,
            "gas": (receipts[-1][1] if receipts else 0) != header.gas_used,
            "index": places != [(header.number, index) for index in range(len(places))],
        }
        if wrong := [name for name, fault in faults.items() if fault]:
            raise ChainCorrupt(f"block {header.number} does not fit its own {', '.join(wrong)}")
