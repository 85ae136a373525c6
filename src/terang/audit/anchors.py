"""Log against tiles, batches, checkpoints, signing state and chain."""

from pathlib import Path
from typing import Any

from terang.audit.findings import Findings, Progress
from terang.ledger import batch
from terang.ledger.checkpoint import open_checkpoint
from terang.ledger.contract import decode_anchor_call
from terang.ledger.merkle import consistency_proof, leaf_nodes, root_hash
from terang.ledger.proof import ChainReader
from terang.store.log_reader import LogReader, StoredBatch
from terang.values.errors import BatchUnfaithful, ChainError, ProofError
from terang.values.record import leaf_hash

__all__ = ["check_anchors", "check_signing_state", "check_tiles"]


def check_anchors(
    log: LogReader,
    chain: ChainReader | None,
    leaves: list[bytes],
    checkpoint_key: bytes,
    findings: Findings,
    progress: Progress,
) -> None:
    """Every batch: contiguous, its root that of the leaves, its checkpoint signed, and its data on the chain."""
    nodes = leaf_nodes(leaves)
    stored = log.batches()
    end = 0
    for done, item in enumerate(stored):
        progress("batches", done, len(stored))
        name = f"batch {item.id} of records {item.old_size} to {item.new_size}"
        if item.old_size != end or not end < item.new_size <= len(leaves):
            findings.add("batch", name, "does not continue the one before, or has records that do not exist")
            end = item.new_size
            continue
        end = item.new_size
        root = root_hash(nodes, item.new_size)
        if root != item.root:
            findings.add("batch", name, "its root is not that of the records: one up to there was altered")
        if item.proof is not None and b"".join(consistency_proof(nodes, item.old_size, item.new_size)) != item.proof:
            findings.add("batch", name, "its consistency proof is not that of the records")
        try:
            checkpoint = open_checkpoint(item.checkpoint, checkpoint_key)
            if (checkpoint.size, checkpoint.root) != (item.new_size, root):
                findings.add("batch", name, "its signed checkpoint names another size or root than the records give")
        except ProofError as error:
            findings.add("batch", name, f"its checkpoint does not hold: {error}")
        if item.block_hash is not None and chain is not None:
            _check_on_chain(chain, item, leaves, root, findings)
    progress("batches", len(stored), len(stored))


def _check_on_chain(
    chain: ChainReader, item: StoredBatch, leaves: list[bytes], root: bytes, findings: Findings
) -> None:
    name = f"batch {item.id} of records {item.old_size} to {item.new_size}"
    transaction: Any = item.transaction_hash
    try:
        receipt = chain.receipt(transaction)
        calldata = chain.transaction(transaction)
        if receipt is None or calldata is None or not receipt.succeeded:
            findings.add("chain", name, "its transaction is not on the chain")
            return
        if (receipt.block_number, receipt.block_hash, receipt.index) != (
            item.block_number,
            item.block_hash,
            item.transaction_index,
        ):
            findings.add("batch", name, "stands in another block of the chain than the store says")
        call = decode_anchor_call(calldata)
        if (call.old_size, call.new_size, call.root) != (item.old_size, item.new_size, root):
            findings.add("chain", name, "the chain has another size or root than the records give")
        for offset, record in enumerate(batch.decode(call.data)):
            if leaf_hash(record.kind, record.data) != leaves[item.old_size + offset]:
                findings.add("record", f"record {item.old_size + offset}", "differs from the chain's copy")
    except (ChainError, BatchUnfaithful) as error:
        findings.add("chain", name, str(error))


def check_tiles(log: LogReader, leaves: list[bytes], findings: Findings) -> None:
    """The kept subtree hashes, of which paths are made."""
    nodes = leaf_nodes(leaves)
    covered = log.cut_size()
    level = 8
    while covered >> level:
        count = covered >> level
        kept = log.tiles(level, 0, count + 1)
        if len(kept) != count:
            findings.add("tile", f"level {level}", f"has {len(kept)} subtrees and should have {count}")
        for index, found in enumerate(kept[:count]):
            if found != nodes.node(level, index):
                findings.add("tile", f"subtree {index} of level {level}", "is not the hash of its records")
        level += 8


def check_signing_state(path: Path, leaves: list[bytes], findings: Findings) -> None:
    """What was last signed must be a beginning of the log."""
    if not path.exists():
        findings.add("signing-state", str(path.name), "is missing: nothing says what was last signed")
        return
    try:
        size_text, root_text = path.read_text().split()
        size, root = int(size_text), bytes.fromhex(root_text)
    except ValueError:
        findings.add("signing-state", str(path.name), "cannot be read")
        return
    if size > len(leaves) or (size and root_hash(leaf_nodes(leaves), size) != root):
        findings.add("signing-state", str(path.name), f"the first {size} records are not those that were signed")
