"""Log against tiles, batches, checkpoints, signing state and chain."""

from typing import NamedTuple

from terang.audit.findings import Findings, Progress
from terang.ledger import batch
from terang.ledger.chain import ChainReader
from terang.ledger.checkpoint import Checkpoint, open_checkpoint
from terang.ledger.contract import LogHead, decode_anchor_call, decode_anchored, decode_head, encode_head_query
from terang.ledger.merkle import Nodes, consistency_proof, root_hash
from terang.ledger.tiles import TILE_LEVELS
from terang.store.log_reader import LogReader, StoredBatch
from terang.store.reader import StoreReader
from terang.values.errors import BatchUnfaithful, ChainError, ProofError, StoreError
from terang.values.record import leaf_hash

__all__ = ["Keys", "Log", "check_anchors", "check_head", "check_signing_state", "check_tiles", "head_of"]

_ALL = 1 << 62


class Log(NamedTuple):
    """The leaf hashes of all records, as their bytes give them, and the tree over them."""

    leaves: list[bytes]
    nodes: Nodes


class Keys(NamedTuple):
    """What the store names: who signs checkpoints, the contract that holds the head, the site there."""

    checkpoint: bytes
    contract: bytes
    site: bytes

    @classmethod
    def of(cls, store: StoreReader) -> "Keys":
        """Those of this store; empty where it has none yet."""
        texts = (store.setting("checkpoint_key"), store.setting("contract"), store.site().site_id)
        return cls(*(bytes.fromhex(text) for text in texts))


def head_of(chain: ChainReader | None, contract: str, site: str, findings: Findings) -> LogHead | None:
    """What the contract holds of this log; None where there is nothing yet, and where it cannot be told (a finding)."""
    if not contract:
        return None
    if chain is None:
        findings.add("chain", "the chain", "is gone: the store names a contract on it")
        return None
    try:
        return decode_head(chain.call(bytes.fromhex(contract), encode_head_query(bytes.fromhex(site))))
    except (ChainError, ValueError) as error:
        findings.add("chain", "the contract that the store names", str(error))
        return None


def check_head(head: LogHead | None, log: LogReader, tree: Log, findings: Findings) -> None:
    """The contract's head must be a beginning of the log, and as far as the store says that it is anchored."""
    if head is None:
        return
    known = log.anchored_size()
    if head.size > len(tree.leaves):
        detail = f"holds {head.size} records of this log, and the store has {len(tree.leaves)}: it is an older copy"
        findings.add("chain", "the contract", detail)
    elif head.size and root_hash(tree.nodes, head.size) != head.root:
        findings.add("chain", "the contract", f"holds another root for the first {head.size} records")
    if head.size > known:
        what = f"records {known} to {head.size - 1}"
        findings.add("batch", what, "stand on the chain, and the store does not say so")


def check_anchors(
    log: LogReader,
    chain: ChainReader | None,
    tree: Log,
    keys: Keys,
    findings: Findings,
    progress: Progress,
) -> None:
    """Every batch: contiguous, its root that of the leaves, its checkpoint signed, and its data on the chain."""
    stored = log.batches(-_ALL)
    end, is_whole = 0, True
    for done, item in enumerate(stored):
        progress("batches", done, len(stored))
        if item.old_size != end or not end < item.new_size <= len(tree.leaves):
            findings.add("batch", _name(item), "does not continue the one before, or has records that do not exist")
            end = item.new_size
            continue
        end = item.new_size
        checkpoint = _check_checkpoint(item, keys.checkpoint, findings)
        root = root_hash(tree.nodes, item.new_size)
        if is_whole and checkpoint is not None and checkpoint.root != root:
            is_whole = False  # once is enough: all later roots stand over the same records
            detail = "the signed root is not that of the records: one in it was altered, is missing or was slipped in"
            findings.add("record", f"records {item.old_size} to {item.new_size - 1}", detail)
        if item.proof is not None and is_whole:
            proof = consistency_proof(tree.nodes, item.old_size, item.new_size)
            if b"".join(proof) != item.proof:
                findings.add("batch", _name(item), "its consistency proof is not that of the records")
        place = (item.block_number, item.block_hash, item.transaction_index, item.anchored_ms)
        if (item.block_hash is None) != (place == (None,) * len(place)):
            findings.add("batch", _name(item), "says of its block less than is known of an anchored one")
        on_chain = _check_on_chain(chain, item, tree, keys, findings) if item.block_hash is not None and chain else None
        _check_data(item, on_chain, tree, findings)
    progress("batches", len(stored), len(stored))


def _name(item: StoredBatch) -> str:
    return f"batch {item.id} of records {item.old_size} to {item.new_size}"


def _check_checkpoint(item: StoredBatch, key: bytes, findings: Findings) -> Checkpoint | None:
    """What was signed for this batch."""
    try:
        checkpoint = open_checkpoint(item.checkpoint, key)
    except (ProofError, AttributeError) as error:
        findings.add("batch", _name(item), f"its checkpoint does not hold: {error}")
        return None
    if (checkpoint.size, checkpoint.root, checkpoint.time_ms) != (item.new_size, item.root, item.made_ms):
        findings.add("batch", _name(item), "its size, root or time is not that of its signed checkpoint")
    return checkpoint


def _check_on_chain(
    chain: ChainReader, item: StoredBatch, tree: Log, keys: Keys, findings: Findings
) -> bytes | None:
    """The batch's bytes as the chain has them."""
    try:
        transaction = item.transaction_hash or b""
        receipt = chain.receipt(transaction)
        calldata = chain.transaction(transaction)
        if receipt is None or calldata is None or not receipt.succeeded:
            findings.add("batch", _name(item), "the transaction that it names is not on the chain")
            return None
        place = (receipt.block_number, receipt.block_hash, receipt.index)
        if place != (item.block_number, item.block_hash, item.transaction_index):
            findings.add("batch", _name(item), "stands in another block of the chain than the store says")
        call = decode_anchor_call(calldata)
        events = [decode_anchored(log) for log in receipt.logs if log.address == keys.contract]
        if (keys.site, item.new_size, item.root) not in [(e.site, e.new_size, e.root) for e in events if e]:
            findings.add("batch", _name(item), "was not taken by this log's contract in the transaction that it names")
    except (ChainError, TypeError) as error:
        findings.add("chain", _name(item), str(error))
        return None
    if (call.old_size, call.new_size, call.root) != (item.old_size, item.new_size, item.root):
        findings.add("batch", _name(item), "the chain has another size or root than the store")
    _check_items(call.data, item, tree, findings)
    return call.data


def _check_items(data: bytes, item: StoredBatch, tree: Log, findings: Findings) -> None:
    """The records in a batch's bytes must be those of the log."""
    try:
        items = batch.decode(data)
    except BatchUnfaithful as error:
        findings.add("chain", _name(item), str(error))
        return
    if len(items) != item.new_size - item.old_size:
        findings.add("chain", _name(item), f"has {len(items)} records")
        return
    for position, record in enumerate(items, item.old_size):
        if leaf_hash(record.kind, record.data) != tree.leaves[position]:
            findings.add("record", f"record {position}", "differs from the chain's copy")


def _check_data(item: StoredBatch, on_chain: bytes | None, tree: Log, findings: Findings) -> None:
    """What the store still has of a batch's bytes, and how many it says they are."""
    known = on_chain if on_chain is not None else item.data
    if known is not None and len(known) != item.size_bytes:
        findings.add("batch", _name(item), f"has {len(known)} bytes, and the store says {item.size_bytes}")
    if item.data is None or item.data == on_chain:
        return
    try:
        leaves = [leaf_hash(record.kind, record.data) for record in batch.decode(item.data)]
    except (BatchUnfaithful, TypeError) as error:
        findings.add("batch", _name(item), f"its bytes are no batch any more: {error}")
        return
    if on_chain is not None or leaves != tree.leaves[item.old_size : item.new_size]:
        findings.add("batch", _name(item), "its bytes are not those of its records")


def check_tiles(log: LogReader, nodes: Nodes, findings: Findings) -> None:
    """The kept subtree hashes, of which paths are made."""
    covered = log.cut_size()
    for level in range(TILE_LEVELS, 64, TILE_LEVELS):
        count = covered >> level
        try:
            kept = log.tiles(level, 0, _ALL)
        except StoreError as error:
            findings.add("tile", f"level {level}", str(error))
            continue
        if len(kept) != count:
            findings.add("tile", f"level {level}", f"has {len(kept)} subtrees and should have {count}")
        for index, found in enumerate(kept[:count]):
            if found != nodes.node(level, index):
                findings.add("tile", f"subtree {index} of level {level}", "is not the hash of its records")


def check_signing_state(name: str, signed: str | None, log: LogReader, tree: Log, findings: Findings) -> None:
    """What was last signed must be a beginning of the log, and must be kept as a batch.

    `name` is the file's, `signed` its text; None where there is no file.
    """
    if signed is None:
        if log.cut_size():
            findings.add("signing-state", name, "is missing: nothing says what was last signed")
        return
    try:
        size_text, root_text = signed.split()
        size, root = int(size_text), bytes.fromhex(root_text)
    except ValueError:
        findings.add("signing-state", name, "cannot be read")
        return
    if not 0 < size <= len(tree.leaves) or root_hash(tree.nodes, size) != root:
        findings.add("signing-state", name, f"the first {size} records are not those that were signed")
    elif size < log.cut_size():
        findings.add("signing-state", name, f"knows of {size} signed records, and batches of {log.cut_size()}")
    elif size > log.cut_size():
        detail = "were signed, and no batch holds them: it was deleted, or the platform was killed just then"
        findings.add("batch", f"records {log.cut_size()} to {size - 1}", detail)
