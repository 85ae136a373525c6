"""Cuts the log into batches and brings each onto the chain exactly once.

A batch is a row in the store before its transaction is sent, and is never cut again. The contract takes a batch only
onto the head that it extends, so sending the same one twice is harmless: after any doubt the head is read, and what is
not in it is sent again.
"""

from collections.abc import Sequence
from typing import Protocol

from eth_utils.crypto import keccak

from terang.ledger import batch as batches
from terang.ledger.chain import Chain, Receipt
from terang.ledger.committer import Committer
from terang.ledger.contract import AnchorCall, anchored_topics, decode_anchored, decode_head, encode_head_query
from terang.ledger.contract import Anchored as Anchor
from terang.ledger.drafts import Anchored, BatchDraft, Tile
from terang.ledger.merkle import consistency_proof, root_hash
from terang.ledger.signing_state import SigningState
from terang.ledger.tiles import LeafSource, TiledNodes, new_tiles
from terang.values.clock import Clock
from terang.values.errors import BatchUnfaithful, ChainError, ChainRefused, LedgerError, LogForked, StoreBehind
from terang.values.record import leaf_hash

__all__ = ["Anchorer", "CutRecord", "LogSource", "LogTarget", "OpenBatch"]

_FIRST_GUESS_BYTES = 100
_AIM_BYTES = 90_000
_SEARCH_BLOCKS = 1000


class CutRecord(Protocol):
    """A record as the log source gives it."""

    @property
    def kind(self) -> int:
        """One of values.record.KINDS."""
        ...

    @property
    def leaf(self) -> bytes:
        """The leaf hash."""
        ...

    @property
    def data(self) -> bytes | None:
        """The exact bytes; None once they were let go of."""
        ...


class OpenBatch(Protocol):
    """A batch that is cut and not yet known to stand in a block."""

    @property
    def old_size(self) -> int:
        """Where it begins."""
        ...

    @property
    def new_size(self) -> int:
        """Where it ends."""
        ...

    @property
    def root(self) -> bytes:
        """The root at its end."""
        ...

    @property
    def proof(self) -> bytes | None:
        """The consistency proof from its beginning to its end, 32 bytes a hash."""
        ...

    @property
    def data(self) -> bytes | None:
        """The exact bytes; None once they were let go of."""
        ...

    @property
    def raw_transaction(self) -> bytes | None:
        """What was sent, or was about to be."""
        ...

    @property
    def transaction_hash(self) -> bytes | None:
        """Its hash."""
        ...


class LogSource(LeafSource, Protocol):
    """What is read of the log."""

    def size(self) -> int:
        """How many records there are."""
        ...

    def cut_size(self) -> int:
        """How many of them stand in batches."""
        ...

    def anchored_size(self) -> int:
        """How many of them are known to stand on the chain."""
        ...

    def records(self, begin: int, end: int) -> Sequence[CutRecord]:
        """Records [begin, end) in order."""
        ...

    def unanchored(self) -> Sequence[OpenBatch]:
        """Batches not known to stand in a block, oldest first."""
        ...


class LogTarget(Protocol):
    """What is written; every call returns after it is durable."""

    def save_tiles(self, tiles: tuple[Tile, ...]) -> None:
        """Keep the hashes of complete subtrees."""
        ...

    def save_batch(self, draft: BatchDraft) -> None:
        """Keep a batch that was cut."""
        ...

    def save_transaction(self, old_size: int, raw: bytes, transaction_hash: bytes) -> None:
        """Keep the transaction under which the batch that begins at `old_size` is about to be sent."""
        ...

    def forget_anchored(self, size: int) -> None:
        """Batches that end beyond `size` stand in no block any more: the chain has gone another way."""
        ...

    def save_anchored(self, anchored: Anchored) -> object:
        """Write block number, block hash and position back."""
        ...


class Anchorer:
    """One committer's work. Not for several threads at once."""

    def __init__(
        self,
        *,
        source: LogSource,
        target: LogTarget,
        chain: Chain,
        committer: Committer,
        contract: bytes,
        site: bytes,
        signing: SigningState,
        clock: Clock,
        confirmations: int = 0,
    ) -> None:
        self._source = source
        self._target = target
        self._chain = chain
        self._committer = committer
        self._contract = contract
        self._site = site
        self._signing = signing
        self._clock = clock
        self._confirmations = confirmations  # blocks on top of its own that an anchor needs before it counts
        self._nodes = TiledNodes(source)
        self._record_bytes = _FIRST_GUESS_BYTES

    def check_start(self) -> None:
        """StoreBehind unless the store has everything that was signed or anchored."""
        size, cut = self._source.size(), self._source.cut_size()
        head = self.chain_head()
        behind = max(self._signing.last.size, head)
        if size < behind or cut < head:
            raise StoreBehind(
                f"the store has {size} records, but {behind} were signed or anchored: it was restored from an older"
                " copy. Nothing is written until it has them again: bring back the newest copy of the store, or make it"
                " anew from the chain and a backup with `terang restore`"
            )
        if self._signing.last.size < cut:
            raise LedgerError(
                f"{cut} records were signed, and the signing state knows of {self._signing.last.size}: it was lost,"
                " or is an older copy. Nothing is signed until the newest one is back; take it from a backup"
            )
        if (signed := self._signing.last).size and root_hash(self._nodes, signed.size) != signed.root:
            raise LogForked(
                f"the store's first {signed.size} records are not those that were signed; `terang audit` names them"
            )

    def chain_head(self) -> int:
        """How many records of this site the contract has."""
        answer = self._chain.call(self._contract, encode_head_query(self._site))
        return decode_head(answer).size

    def anchored_batches(self) -> list[Anchor]:
        """What the contract has taken of this site, in the order of the log."""
        newest = self._chain.block("latest")
        end = 0 if newest is None else newest.number + 1
        found = self._chain.events(self._contract, anchored_topics(self._site), 0, end)
        return [event for one in found if (event := decode_anchored(one.log)) is not None]

    def cut(self) -> int:
        """Cut what is new into batches, each kept and signed before the next; how many records that were."""
        begin, size = self._source.cut_size(), self._source.size()
        first = begin
        while begin < size:
            begin = self._cut_one(begin, size)
        return begin - first

    def send(self) -> list[bytes]:
        """Hand every batch that is not in a block to the chain; the hashes of the transactions that are not there yet.

        Where the chain has gone another way and lost anchors that counted, they count no more and are sent again.
        """
        waiting = []
        head = self.chain_head()
        if head < self._source.anchored_size():
            self._target.forget_anchored(head)
        for open_batch in self._source.unanchored():
            known = open_batch.transaction_hash
            receipt = None if known is None else self._chain.receipt(known)
            if receipt is not None and receipt.succeeded:
                self._write_back(open_batch, receipt.tx_hash)
            elif open_batch.new_size <= head:
                self._write_back(open_batch, self._find(open_batch))
            else:
                waiting.append(self._submit(open_batch, is_spent=receipt is not None))
        return waiting

    def settle(self) -> int:
        """Write back every batch whose transaction stands in a block; how many are still waiting."""
        left = 0
        for open_batch in self._source.unanchored():
            known = open_batch.transaction_hash
            if known is None or not self._write_back(open_batch, known):
                left += 1
        return left

    def _cut_one(self, begin: int, size: int) -> int:
        count = min(batches.MAX_RECORDS, size - begin, max(1, _AIM_BYTES // self._record_bytes))
        records = self._source.records(begin, begin + count)
        items: list[batches.Item] = []
        for record in records:
            if record.data is None or leaf_hash(record.kind, record.data) != record.leaf:
                raise BatchUnfaithful(
                    f"record {begin + len(items)} was altered before it was anchored; run `terang audit`"
                )
            items.append(batches.Item(record.kind, record.data))
        data = batches.encode(items)
        while len(data) > batches.MAX_BYTES:
            items = items[: max(1, len(items) * _AIM_BYTES // len(data))]
            data = batches.encode(items)
        self._record_bytes = max(1, len(data) // len(items))
        end = begin + len(items)
        self._keep(begin, end, data)
        return end

    def _keep(self, begin: int, end: int, data: bytes) -> None:
        for tiles in new_tiles(self._nodes, begin, end):
            self._target.save_tiles(tiles)
        root = root_hash(self._nodes, end)
        proof = consistency_proof(self._nodes, begin, end)
        signed = self._signing.last.size
        # after a crash between signing and keeping, what was signed may reach further than what is cut now
        since = proof if signed == begin else consistency_proof(self._nodes, *sorted((signed, end))) if signed else []
        now_ms = self._clock.now_ms()
        checkpoint = self._signing.sign(end, root, since, now_ms)
        self._target.save_batch(BatchDraft(begin, end, root, b"".join(proof), checkpoint, data, now_ms))

    def _submit(self, open_batch: OpenBatch, *, is_spent: bool) -> bytes:
        """Send a batch; under a new transaction if the one it had `is_spent`, in a block that proves its failure."""
        raw = open_batch.raw_transaction
        if raw is not None and not is_spent:
            dearer = self._committer.dearer(raw, self._chain.base_fee)
            if dearer is not None:  # blocks have become expensive: the same batch under the same nonce, for more
                self._target.save_transaction(open_batch.old_size, dearer, keccak(dearer))
                raw = dearer
            try:
                return self._chain.submit(raw)
            except ChainRefused:
                pass  # its nonce was used by another transaction of ours: the same batch goes under a new one
        if open_batch.data is None or open_batch.proof is None:
            raise ChainError(f"the batch of records from {open_batch.old_size} on has no data to send")
        call = AnchorCall(
            site=self._site,
            old_size=open_batch.old_size,
            new_size=open_batch.new_size,
            root=open_batch.root,
            proof=tuple(open_batch.proof[i : i + 32] for i in range(0, len(open_batch.proof), 32)),
            data=open_batch.data,
        )
        raw = self._committer.anchor(
            call,
            contract=self._contract,
            chain_id=self._chain.chain_id,
            nonce=self._chain.nonce(self._committer.address),
            base_fee=self._chain.base_fee,
        )
        self._target.save_transaction(open_batch.old_size, raw, keccak(raw))
        return self._chain.submit(raw)

    def _find(self, open_batch: OpenBatch) -> bytes:
        """The transaction by which a batch came onto the chain, when it is not the one that the store knows of."""
        newest = self._chain.block("latest")
        end = 0 if newest is None else newest.number + 1
        while end > 0:
            begin = max(0, end - _SEARCH_BLOCKS)
            for found in self._chain.events(self._contract, anchored_topics(self._site), begin, end):
                event = decode_anchored(found.log)
                if event is not None and event.new_size == open_batch.new_size:
                    if event.root != open_batch.root:
                        raise LogForked(f"the chain has another root for {event.new_size} records; `terang audit`")
                    return found.tx_hash
            end = begin
        raise LogForked(
            f"the chain has {open_batch.new_size} records in other batches than the store; run `terang audit`"
        )

    def _write_back(self, open_batch: OpenBatch, transaction_hash: bytes) -> bool:
        receipt = self._chain.receipt(transaction_hash)
        if receipt is None or not receipt.succeeded or not self._is_confirmed(receipt):
            return False
        self._target.save_anchored(self._anchored(open_batch, receipt))
        return True

    def _is_confirmed(self, receipt: Receipt) -> bool:
        if not self._confirmations:
            return True
        newest = self._chain.block("latest")
        return newest is not None and newest.number >= receipt.block_number + self._confirmations

    def _anchored(self, open_batch: OpenBatch, receipt: Receipt) -> Anchored:
        return Anchored(
            open_batch.old_size,
            open_batch.new_size,
            receipt.tx_hash,
            receipt.block_number,
            receipt.block_hash,
            receipt.index,
            self._clock.now_ms(),
        )
