"""The embedded chain: one signer seals real Ethereum blocks under Clique into a file, with py-evm and nothing else."""

import mmap
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import rlp
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

from terang.ledger.chain import Activity, Block, BlockEvidence, BlockId, ChainEvent, ChainStatus, Receipt
from terang.ledger.chain_store import ChainStore, StoredBlock
from terang.ledger.chain_view import ChainView, read_genesis
from terang.ledger.clique import (
    ADDRESS_BYTES,
    EMPTY_UNCLES_HASH,
    Header,
    check_header,
    check_seal,
    difficulty_of,
    extra_data_of,
    may_sign,
    seal_header,
    signer_of,
)
from terang.ledger.evm import Account, Execution, Transaction, base_fee_after, decode_transaction
from terang.ledger.genesis import Genesis
from terang.ledger.mempool import Mempool
from terang.ledger.prune import KEPT_HEADS, StatePruner
from terang.values.clock import Clock
from terang.values.errors import ChainCorrupt, ChainError, SettingError

__all__ = ["EARLIEST_MS", "LATEST_MS", "EmbeddedChain", "read_blocks", "write_blocks"]

# A calendar outside these years was never set: boards without a battery wake up in 1970, a slipped digit makes 2106.
EARLIEST_MS: Final = 1_735_689_600_000
LATEST_MS: Final = 4_102_444_800_000


class EmbeddedChain(ChainView):
    """A chain of which this process is the only writer; it seals when `seal` is called, and only then.

    Implements Chain. Safe to use from several threads: one at a time gets in. Without `signer_key` it can import blocks
    but not seal.
    """

    def __init__(
        self,
        store: ChainStore,
        genesis: Genesis,
        *,
        clock: Clock,
        signer_key: PrivateKey | None,
        kept_heads: int = KEPT_HEADS,
    ) -> None:
        super().__init__(store, genesis)
        self._clock = clock
        self._key = signer_key
        # Held by every method; a caller holds it to see the chain stand still over several.
        self.mutex = threading.RLock()
        self._pool = Mempool(gas_limit=genesis.gas_limit)
        self._pruner = StatePruner(store, kept_heads=kept_heads)
        self._fault = ""
        # Called after each transaction taken; whoever calls `seal` puts here what wakes it.
        self.on_submit: Callable[[], None] = lambda: None
        self._head = self._start()

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        clock: Clock,
        genesis: Genesis | None = None,
        signer_key: PrivateKey | None = None,
        kept_heads: int = KEPT_HEADS,
    ) -> "EmbeddedChain":
        """The chain in `directory`, begun from `genesis` where there is none yet.

        Raises ChainInUse when another process writes it, SettingError when the genesis given is another one.
        """
        store = ChainStore(directory)
        try:
            found = read_genesis(directory)
            if found is None:
                if genesis is None:
                    raise ChainError(f"there is no chain in {directory} and no genesis to begin one from")
                _write_durably(directory / "genesis.json", genesis.to_json())
                found = genesis
            elif genesis is not None and genesis != found:
                raise SettingError(f"the chain in {directory} began from another genesis; use another directory")
            return cls(store, found, clock=clock, signer_key=signer_key, kept_heads=kept_heads)
        except BaseException:
            store.close()
            raise

    def _start(self) -> Header:
        """The head, after the genesis was stored if need be and found to be that of this chain."""
        made, state = self.evm.make_genesis(self.genesis)
        if self._store.head() is None:
            self._store.append(StoredBlock(header=made, hash=made.hash, transactions=(), receipts=()), state)
        if self._store.header(0) != made:
            raise ChainCorrupt("block 0 is not that of the genesis document; restore both from one copy")
        head = super().head()
        if self._store.state(head.state_root) is None:
            raise ChainCorrupt(f"the state of block {head.number} is missing; restore the chain from a copy")
        if self._key is not None and self._address() not in self.genesis.signers:
            raise SettingError(f"the key of 0x{self._address().hex()} is no signer of this chain; use its first key")
        return head

    def _address(self) -> bytes:
        return b"" if self._key is None else self._key.public_key.to_canonical_address()

    def close(self) -> None:
        """Give up files and lock; what waits for a block is forgotten."""
        with self.mutex:
            super().close()

    def head(self) -> Header:
        """The newest header."""
        return self._head

    def submit(self, raw: bytes) -> bytes:
        """See Chain."""
        tx_hash = keccak(raw)
        with self.mutex:
            if tx_hash in self._pool or self._store.place(tx_hash) is not None:
                return tx_hash
            transaction = decode_transaction(raw, self.chain_id)
            self._pool.add(transaction, self.account(bytes(transaction.sender)), base_fee=self.base_fee)
        self.on_submit()
        return tx_hash

    def waiting(self, tx_hash: bytes) -> Transaction | None:
        """A submitted transaction that no block holds yet."""
        with self.mutex:
            return self._pool.find(tx_hash)

    def waiting_count(self) -> int:
        """How many transactions wait for a block."""
        with self.mutex:
            return len(self._pool)

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """See Chain."""
        with self.mutex:
            return super().receipt(tx_hash)

    def block(self, block_id: BlockId) -> Block | None:
        """See Chain."""
        with self.mutex:
            return super().block(block_id)

    def transaction(self, tx_hash: bytes) -> bytes | None:
        """See Chain."""
        with self.mutex:
            return super().transaction(tx_hash)

    def call(self, to: bytes, data: bytes) -> bytes:
        """See Chain."""
        with self.mutex:
            return super().call(to, data)

    def events(self, address: bytes, topics: tuple[bytes, ...], begin: int, end: int) -> list[ChainEvent]:
        """See Chain."""
        with self.mutex:
            return super().events(address, topics, begin, end)

    def evidence(self, number: int) -> BlockEvidence | None:
        """See Chain."""
        with self.mutex:
            return super().evidence(number)

    def code(self, address: bytes) -> bytes:
        """See Chain."""
        with self.mutex:
            return super().code(address)

    def nonce(self, address: bytes) -> int:
        """See Chain: with what waits counted in."""
        with self.mutex:
            return self._pool.nonce_after(address, super().nonce(address))

    def account(self, address: bytes) -> Account:
        """The account as of the head."""
        with self.mutex:
            return self.evm.account(self._head, address)

    def status(self) -> ChainStatus:
        """See Chain. A fault of the last seal stays until a seal succeeds."""
        reason = self._clock_fault(self._clock.now_ms()) or self._fault or self._signer_fault()
        return ChainStatus(activity=Activity.PAUSED if reason else Activity.SEALING, reason=reason)

    def _clock_fault(self, now_ms: int) -> str:
        """Why this clock cannot date a block, or nothing. A block dated ahead would stop the chain until then."""
        if not EARLIEST_MS <= now_ms < LATEST_MS:
            return "the clock of this machine is not set (it is outside 2025 to 2099); set it and sealing resumes"
        ahead_s = self._head.timestamp_s - now_ms // 1000
        if ahead_s > 0:
            what = "the genesis" if self._head.number == 0 else f"block {self._head.number}"
            return f"{what} is dated {ahead_s} s ahead of this machine's clock; check the clock, or wait that long"
        return ""

    def _signer_fault(self) -> str:
        if self._key is None:
            return "this machine has no signer key; blocks come from elsewhere"
        if not may_sign(self._address(), self._recent_signers(), self.genesis.rules):
            return "this machine signed too recently; other signers must seal first"
        return ""

    def _recent_signers(self) -> list[bytes]:
        """The signers that may not seal next: those of the last N/2 blocks, newest first."""
        span = len(self.genesis.signers) // 2
        with self.mutex:
            numbers = range(self._head.number, max(self._head.number - span, 0), -1)
            headers = [self._store.header(number) for number in numbers]
        return [signer_of(header) for header in headers if header is not None]

    def seal_due_ms(self) -> int | None:
        """When the next block may be sealed [UTC ms], or None while nothing waits for one."""
        with self.mutex:
            if not len(self._pool):
                return None
            return (self._head.timestamp_s + self.genesis.period_s) * 1000

    def until_seal_ms(self) -> int | None:
        """How long until the next block may be sealed [ms], 0 or less when it is due, None while nothing waits."""
        due_ms = self.seal_due_ms()
        return None if due_ms is None else due_ms - self._clock.now_ms()

    def seal(self) -> Block | None:
        """Seal what waits into one block, durable when this returns; None when nothing waits or it may not be yet.

        Its time is the present second, at least a period after its parent's. A block that this chain would itself
        refuse is not committed: that and a failing disk raise ChainError, and `status` tells of it.
        """
        with self.mutex:
            now_ms = self._clock.now_ms()
            due_ms = self.seal_due_ms()
            if due_ms is None or now_ms < due_ms or self._clock_fault(now_ms) or self._signer_fault():
                return None
            try:
                number = self._seal(now_ms // 1000)
            except ChainError as error:
                self._fault = f"the last block could not be sealed: {error}"
                raise
            self._fault = ""
            return None if number is None else self.block(number)

    def _seal(self, now_s: int) -> int | None:
        parent = self._head
        draft = self._draft(parent, now_s)
        chosen = self._pool.pick(room=draft.gas_limit, admit=lambda tx: tx.max_fee_per_gas >= draft.base_fee)
        if not chosen:
            return None
        built = self.evm.execute(draft, parent, chosen)
        self._drop(chosen, built)
        if not built.transactions:
            return None
        sealed = StoredBlock(
            header=self._sign(built.header), hash=b"", transactions=built.transactions, receipts=built.receipts
        )
        return self._import(sealed.encode(), now_s)

    def _draft(self, parent: Header, now_s: int) -> Header:
        """The next header before execution, sealed already: the seal tells the virtual machine whom the tips go to."""
        number = parent.number + 1
        rules = self.genesis.rules
        return self._sign(
            Header(
                parent_hash=parent.hash,
                uncles_hash=EMPTY_UNCLES_HASH,
                coinbase=bytes(ADDRESS_BYTES),
                state_root=parent.state_root,
                transactions_root=bytes(32),
                receipts_root=bytes(32),
                bloom=bytes(256),
                difficulty=difficulty_of(number, self._address(), rules),
                number=number,
                gas_limit=parent.gas_limit,
                gas_used=0,
                timestamp_s=max(parent.timestamp_s + rules.period_s, now_s),
                extra_data=extra_data_of(number, rules),
                mix_hash=bytes(32),
                nonce=bytes(8),
                base_fee=base_fee_after(parent),
            )
        )

    def _sign(self, header: Header) -> Header:
        if self._key is None:
            raise SettingError("sealing needs the signer's key")
        return seal_header(header, self._key)

    def _drop(self, chosen: Iterable[Transaction], built: Execution) -> None:
        """Forget what cannot execute, and its sender's later ones, which then cannot either."""
        senders = {transaction.sender for transaction in chosen if transaction.hash in built.left_out}
        self._pool.remove(
            [tx.hash for tx in chosen if tx.sender in senders and tx.encode() not in built.transactions]
        )

    def import_block(self, raw: bytes) -> int:
        """Append a block from elsewhere after checking it whole; its number. Raises ChainCorrupt when it is wrong."""
        with self.mutex:
            return self._import(raw, self._clock.now_ms() // 1000)

    def _import(self, raw: bytes, now_s: int) -> int:
        """Check the bytes as a stranger would, form, header, seal and execution, then make the block durable."""
        header, transactions = self._parse(raw)
        parent = self._head
        check_header(header, parent, self.genesis.rules, now_s)
        check_seal(header, self._recent_signers(), self.genesis.rules)
        if not transactions:
            raise ChainCorrupt(f"block {header.number} holds no transaction; this chain has no empty blocks")
        executed = self.evm.execute(header, parent, transactions)
        if executed.left_out:
            reason = next(iter(executed.left_out.values()))
            raise ChainCorrupt(f"block {header.number} holds what cannot execute: {reason}")
        if executed.header != header:
            wrong = [name for name in Header.__slots__ if getattr(executed.header, name) != getattr(header, name)]
            raise ChainCorrupt(f"block {header.number} claims another {', '.join(wrong)} than its transactions make")
        block = StoredBlock(
            header=header, hash=header.hash, transactions=executed.transactions, receipts=executed.receipts
        )
        self._store.append(block, executed.state)
        self._head = header
        self._pool.remove(keccak(transaction) for transaction in block.transactions)
        return header.number

    def _parse(self, raw: bytes) -> tuple[Header, list[Transaction]]:
        try:
            items = rlp.decode(raw)
            header_items, bodies, uncles = items
            encoded = [body if isinstance(body, bytes) else rlp.encode(body) for body in bodies]
            header = Header.decode(rlp.encode(header_items))
        except (rlp.DecodingError, ValueError, TypeError) as error:
            raise ChainCorrupt(f"not a block: {error}") from error
        if uncles != [] or rlp.encode(items) != raw:
            raise ChainCorrupt(f"block {header.number} has uncles or is not in canonical RLP")
        return header, [decode_transaction(body, self.chain_id) for body in encoded]

    def tidy(self, budget: int = 256) -> bool:
        """Prune for about `budget` node visits; False when there is nothing to prune for now."""
        with self.mutex:
            return self._pruner.step(budget)


def _write_durably(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_blocks(view: ChainView, path: Path) -> int:
    """Write every block after the genesis to `path`, RLP after RLP as `geth import` takes it; how many there were."""
    count = 0
    with path.open("wb") as file:
        for raw in view.export_blocks():
            file.write(raw)
            count += 1
    return count


def read_blocks(path: Path) -> Iterator[bytes]:
    """The blocks that `write_blocks` has written, one RLP after another; ChainCorrupt where the file is cut off."""
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 0
        while at < len(data):
            try:
                _, _, length, start = rlp.codec.consume_length_prefix(data, at)
            except (rlp.DecodingError, IndexError) as error:
                raise ChainCorrupt(f"{path} holds no block at byte {at}: {error}") from error
            if start + length > len(data):
                raise ChainCorrupt(f"{path} is cut off in the middle of a block")
            yield data[at : start + length]
            at = start + length
