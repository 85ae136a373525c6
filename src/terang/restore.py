"""The store made anew from the chain: every record of the log in its order, through the same path as when it came.

What the chain cannot give, names, logins and keys, comes from a backup. A record counts as it did, because whether it
counts rests on its bytes; when it came is not on the chain, so the time of its block stands for that.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from terang.acts import Unsaid
from terang.ledger.batch import Item, decode
from terang.ledger.chain import Block, BlockId, ChainEvent
from terang.ledger.checkpoint import Checkpoint, origin_of, sign_checkpoint
from terang.ledger.contract import AnchorCall, anchored_topics, decode_anchor_call, decode_anchored
from terang.ledger.drafts import Anchored, BatchDraft
from terang.ledger.merkle import consistency_proof, root_hash
from terang.ledger.tiles import TiledNodes, new_tiles
from terang.log_writer import LogWriter
from terang.pipeline import Incoming, Pipeline
from terang.store.log_reader import LogReader
from terang.values.act import Act
from terang.values.errors import ChainCorrupt, LedgerError
from terang.values.record import ENVELOPE
from terang.values.signing import KeyPair

__all__ = ["Anchor", "HistoryReader", "Restored", "anchors_of", "restore_log"]


class HistoryReader(Protocol):
    """What is asked of the chain that has the log: see `chain.Chain`."""

    def block(self, block_id: BlockId) -> Block | None:
        """The block of this number, or the newest."""
        ...

    def transaction(self, tx_hash: bytes) -> bytes | None:
        """The calldata of a sealed transaction."""
        ...

    def events(self, address: bytes, topics: tuple[bytes, ...], begin: int, end: int) -> list[ChainEvent]:
        """What the contract left in blocks [begin, end)."""
        ...


class Anchor(NamedTuple):
    """One batch as the chain has it."""

    call: AnchorCall
    place: ChainEvent
    time_ms: int


class Restored(NamedTuple):
    """What came back: records and readings of the log, batches."""

    records: int
    readings: int
    batches: int


def anchors_of(chain: HistoryReader, contract: bytes, site: bytes) -> Iterator[Anchor]:
    """Every batch that the contract took of this site, in order; ChainCorrupt where the chain contradicts itself."""
    newest = chain.block("latest")
    end_block, end = 0 if newest is None else newest.number + 1, 0
    times: dict[int, int] = {}
    for place in chain.events(contract, anchored_topics(site), 0, end_block):
        event, calldata = decode_anchored(place.log), chain.transaction(place.tx_hash)
        if event is None or calldata is None:
            raise ChainCorrupt(f"block {place.block_number} names an anchor that the chain does not hold")
        call = decode_anchor_call(calldata)
        said = (event.site, event.old_size, event.new_size, event.root)
        if said != (call.site, call.old_size, call.new_size, call.root) or call.old_size != end:
            raise ChainCorrupt(f"the anchor in block {place.block_number} does not continue the log")
        end = call.new_size
        if place.block_number not in times:
            block = chain.block(place.block_number)
            times = {place.block_number: block.timestamp_ms if block else 0}
        yield Anchor(call, place, times[place.block_number])


def restore_log(
    anchors: Iterator[Anchor],
    *,
    pipeline: Pipeline,
    log: LogReader,
    checkpoint_key: KeyPair,
    site: bytes,
    unsaid: Callable[[Act], Unsaid],
    progress: Callable[[int], None],
) -> Restored:
    """Take every batch into an empty store; LedgerError, naming the record, where one is not what its root says.

    The platform's key must be the one that signed the acts; the store gets checkpoints over the sizes that stand on the
    chain, signed anew at the times of their blocks.
    """
    target, nodes, origin = LogWriter(pipeline), TiledNodes(log), origin_of(site)
    batches = 0
    for anchor in anchors:
        call = anchor.call
        _take(pipeline, decode(call.data), anchor, unsaid)
        is_whole = pipeline.world.next_position == call.new_size
        for tiles in new_tiles(nodes, call.old_size, call.new_size) if is_whole else ():
            target.save_tiles(tiles)
        if not is_whole or root_hash(nodes, call.new_size) != call.root:
            raise LedgerError(f"records {call.old_size} to {call.new_size - 1} do not give the root that was anchored")
        proof = b"".join(consistency_proof(nodes, call.old_size, call.new_size))
        note = sign_checkpoint(checkpoint_key, Checkpoint(origin, call.new_size, call.root, anchor.time_ms))
        sizes = (call.old_size, call.new_size)
        target.save_batch(BatchDraft(*sizes, call.root, proof, note, call.data, anchor.time_ms))
        place = anchor.place
        where = (place.tx_hash, place.block_number, place.block_hash, place.index)
        target.save_anchored(Anchored(*sizes, *where, anchor.time_ms))
        batches += 1
        progress(call.new_size)
    readings = pipeline.writer.rows("SELECT coalesce(sum(readings), 0) FROM latest")[0][0]
    return Restored(pipeline.world.next_position, readings, batches)


def _take(pipeline: Pipeline, items: list[Item], anchor: Anchor, unsaid: Callable[[Act], Unsaid]) -> None:
    """One batch: runs of envelopes as groups, acts one by one, each at its own place."""
    waiting: list[Incoming] = []
    for item in items:
        if item.kind == ENVELOPE:
            waiting.append(Incoming(item.data, "", anchor.time_ms))
            continue
        _accept(pipeline, waiting)
        waiting = []
        pipeline.replay(item.data, unsaid)
    _accept(pipeline, waiting)


def _accept(pipeline: Pipeline, waiting: list[Incoming]) -> None:
    begin = pipeline.world.next_position
    if waiting and pipeline.accept(waiting).accepted != len(waiting):
        raise LedgerError(
            f"among records {begin} to {begin + len(waiting) - 1} is one that no adopted device has signed, or one that"
            " stands twice: this chain does not hold a log of this house's platform"
        )
