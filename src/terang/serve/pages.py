"""What the pages read: the store, and proofs, which need the chain for what the store has let go of."""

import json
from dataclasses import replace
from itertools import takewhile
from typing import Any

from terang.ledger.batch import Item, decode
from terang.ledger.chain import ChainReader
from terang.ledger.checkpoint import read_head
from terang.ledger.contract import decode_anchor_call
from terang.ledger.merkle import root_hash
from terang.ledger.proof import (
    AnchorPlace,
    Bound,
    Subject,
    build_proof,
    check_on_chain,
    check_proof,
    check_signature,
)
from terang.ledger.tiles import TiledNodes
from terang.ledger.words import WORDS, head_words
from terang.reader import KeptHead, LedgerState, Proof, RecordDetail, Witnessed
from terang.store.log_reader import LogReader, StoredBatch
from terang.store.reader import StoreReader
from terang.store.schema import STATES
from terang.values.act import open_act
from terang.values.clock import Clock
from terang.values.envelope import ATTESTED_BY, split, split_payload
from terang.values.errors import ChainError, CodecError, ProofError, StoreError, TerangError
from terang.values.reading import READINGS, read_readings
from terang.values.record import ENVELOPE, KINDS

__all__ = ["Pages"]


class Pages(StoreReader):
    """Implements `reader.Source`. `chain` only reads."""

    def __init__(self, log: LogReader, chain: ChainReader | None, clock: Clock) -> None:
        super().__init__(log.path, clock)
        self._log = log
        self._chain = chain
        # whoever reads one record of a batch reads the next one too; one assignment, so that threads may race
        self._read_last: tuple[int, list[Item]] = (-1, [])
        self._known_acts: list[Bound] = []

    def record(self, position: int) -> RecordDetail | None:
        """The record at this position of the log."""
        rows = self.rows(
            "SELECT r.kind, r.leaf, h.data, d.key_id, d.public_key, e.epoch, r.sequence, r.meter_id, r.received_ms,"
            " r.state, r.reason FROM record r LEFT JOIN held h ON h.position = r.position"
            " LEFT JOIN epoch e ON e.id = r.epoch_id"
            " LEFT JOIN device d ON d.id = e.device_id WHERE r.position=?",
            (position,),
        )
        if not rows:
            return None
        kind, leaf, data, device, key, epoch, sequence, meter, received, state, reason = rows[0]
        data = data if data is not None else self.data_of(position)
        batch = self._log.batch_of(position)
        first, last, attested = _span(data, received) if kind == ENVELOPE else (received, received, "platform")
        return RecordDetail(
            position=position,
            kind=KINDS[kind],
            leaf=leaf.hex(),
            data=data,
            public_key=key.hex() if key else self.setting("platform_key"),
            device=device.hex() if device else None,
            epoch=epoch.hex() if epoch else None,
            sequence=sequence,
            meter_id=meter,
            room_id=self._room_at(meter, first),
            received_ms=received,
            from_ms=first,
            to_ms=last,
            state=STATES[state],
            reason=reason,
            attested_by=attested,
            batch=batch.id if batch else None,
            block_number=batch.block_number if batch else None,
            block_hash=batch.block_hash.hex() if batch and batch.block_hash else None,
        )

    def data_of(self, position: int) -> bytes:
        """The exact bytes of a record, from the chain where the store has let go of them."""
        held = self._log.records(position, position + 1)
        if not held:
            raise StoreError(f"there is no record {position}")
        if held[0].data is not None:
            return held[0].data
        batch = self._log.batch_of(position)
        if batch is None or batch.transaction_hash is None or self._chain is None:
            raise StoreError(f"the bytes of record {position} are on the chain only, which cannot be reached now")
        begin, items = self._read_last
        if begin != batch.old_size:
            calldata = self._chain.transaction(batch.transaction_hash)
            if calldata is None:
                raise StoreError(f"the chain does not hold batch {batch.id}; run `terang audit`")
            begin, items = self._read_last = (batch.old_size, decode(decode_anchor_call(calldata).data))
        return items[position - begin].data

    def proof(self, position: int, index: int = 0, since: int | None = None) -> Proof | None:
        """The proof of a record and of the reading at `index` of it; None where there is none, or no checkpoint covers
        it yet. With `since` it also shows that the log extends the head of that size.
        """
        record = self.record(position)
        batch = self._log.batch_of(position)
        if record is None or batch is None:
            return None
        bindings = self._bindings(record) if record.kind == KINDS[ENVELOPE] else []
        batch = self._batch_with(bindings, batch)
        kind = next(kind for kind, word in KINDS.items() if word == record.kind)
        subject = Subject(position, kind, record.data, bytes.fromhex(record.public_key))
        problem = None
        try:
            anchor = self._anchor(batch)
        except (ChainError, ProofError) as error:
            anchor, problem = None, error
        given: dict[str, Any] = {
            "checkpoint": batch.checkpoint,
            "checkpoint_key": bytes.fromhex(self.setting("checkpoint_key")),
            "platform_key": bytes.fromhex(self.setting("platform_key")),
            "index": index,
            "bindings": list(takewhile(lambda bound: bound[0] < batch.new_size, bindings)),
            "since": since,
        }
        try:
            document = build_proof(subject, self._log, anchor=anchor, **given)
        except (ChainError, ProofError) as error:
            problem = error
            document = build_proof(subject, self._log, anchor=None, **given)
        found = self._check(document, problem)
        return Proof(
            document=document,
            checkpoint=batch.checkpoint,
            block_number=batch.block_number,
            block_hash=batch.block_hash.hex() if batch.block_hash else None,
            **found,
        )

    def ledger(self) -> LedgerState:
        """Log and chain as they stand, with the words of the newest head and what a witness has said."""
        state, newest = super().ledger(), self._log.newest_batch()
        told = json.loads(self.setting("witnessed", "null"))
        return replace(
            state,
            words=head_words(newest.new_size, newest.root) if newest else (),
            witnessed=Witnessed(name=told["witness"], size=told["size"], time_ms=told["time_ms"]) if told else None,
        )

    def compare_head(self, text: str) -> KeptHead:
        """Whether the log is still one history with this head: a checkpoint, or its size and twelve words."""
        size_text, *words = text.split() or [""]
        try:
            size, root = read_head(text) if len(words) != WORDS else (int(size_text), None)
        except (ProofError, ValueError):
            return KeptHead(word="unreadable")
        if not 0 < size <= self._log.cut_size():
            return KeptHead(word="ahead", size=size)
        ours = root_hash(TiledNodes(self._log), size)
        is_same = tuple(word.lower() for word in words) == head_words(size, ours) if root is None else root == ours
        return KeptHead(word="same" if is_same else "other", size=size)

    def _check(self, document: dict[str, Any], problem: TerangError | None) -> dict[str, Any]:
        """What the code behind `terang verify` finds, step by step."""
        found: dict[str, Any] = {"signed": False, "logged": False, "anchored": False, "size": None}
        try:
            check_signature(document)
            found["signed"] = True
            checked = check_proof(document)
            found |= {"logged": True, "size": checked.checkpoint.size}
            if checked.block_number is not None and self._chain is not None:
                check_on_chain(checked, self._chain)
                found["anchored"] = True
        except ProofError as error:
            found["problem"] = str(error)
        except ChainError as error:
            problem = error
        if isinstance(problem, ChainError):
            found |= {"unasked": True, "problem": f"the chain could not be asked just now: {problem}"}
        elif problem is not None:
            found["problem"] = str(problem)
        return found

    def _anchor(self, batch: StoredBatch) -> tuple[AnchorPlace, ChainReader] | None:
        if batch.block_number is None or batch.transaction_index is None or self._chain is None:
            return None
        contract, site = bytes.fromhex(self.setting("contract")), bytes.fromhex(self.setting("site_id"))
        return AnchorPlace(contract, site, batch.block_number, batch.transaction_index), self._chain

    def _batch_with(self, bindings: list[tuple[int, bytes]], own: StoredBatch) -> StoredBatch:
        """The first batch in a block whose root covers the record and as much as can be of what ties it to a room: a
        tenant confirms, and an owner may place a meter, after the record came. Else the record's own.
        """
        for count in range(len(bindings), 0, -1):
            last = max(position for position, _ in bindings[:count])
            if last < own.new_size:
                return own
            batch = self._log.batch_of(last)
            if batch is not None and batch.block_number is not None:
                return batch
        return own

    def _bindings(self, record: RecordDetail) -> list[tuple[int, bytes]]:
        """The acts that tie the record's device to its meter's room, and to the tenancy of that time."""
        acts, key_id, at_ms = self._acts(), bytes.fromhex(record.device or ""), record.from_ms
        meter = split_payload(split(record.data)[0])[0][5]
        adopted = [bound for bound in acts if bound.act.name == "adopt_device" and bound.act.values[0] == key_id]
        placings = [bound for bound in acts if bound.act.name == "place_meter"]
        placings = [bound for bound in placings if bound.act.values[:2] == (key_id, meter)]
        placed = [bound for bound in placings if bound.act.at_ms <= at_ms] or placings[:1]
        found = [*adopted[-1:], *placed[-1:]]
        if placed:
            tenancy = _tenancy_at(acts, placed[-1].act.values[2], at_ms)
            wanted = None if tenancy is None else (key_id, meter, placed[-1].act.values[2], tenancy.act.values[0])
            same = [bound for bound in acts if bound.act.name == "confirm_binding" and bound.act.values == wanted]
            found += [*([tenancy] if tenancy else []), *same[-1:]]
        return [(bound.position, self.data_of(bound.position)) for bound in found]

    def _acts(self) -> list[Bound]:
        """Every act of the log, in its order; read once, and what is new each time."""
        known, key = self._known_acts, bytes.fromhex(self.setting("platform_key"))
        since = known[-1].position if known else -1
        rows = self.rows("SELECT position FROM record WHERE kind = 2 AND position > ? ORDER BY position", (since,))
        if rows:
            known = [*known, *(Bound(at, open_act(key, self.data_of(at))) for (at,) in rows)]
            self._known_acts = known
        return known

    def _room_at(self, meter_id: int | None, at_ms: int) -> int | None:
        for room_id, refs in self._placed().items():
            for ref in refs:
                if ref.id == meter_id and ref.from_ms <= at_ms and (ref.to_ms is None or at_ms < ref.to_ms):
                    return room_id
        return None


def _tenancy_at(acts: list[Bound], room: object, at_ms: int) -> Bound | None:
    """The beginning of the tenancy of this room at that time."""
    begun = [bound for bound in acts if bound.act.name == "start_tenancy" and bound.act.values[1] == room]
    for bound in reversed(begun):
        ends = [b.act.at_ms for b in acts if b.act.name == "end_tenancy" and b.act.values[0] == bound.act.values[0]]
        if int(bound.act.values[3]) <= at_ms and not any(end <= at_ms for end in ends):
            return bound
    return None


def _span(data: bytes, received_ms: int) -> tuple[int, int, str]:
    """(time of the first and of the last reading, who attests) of an envelope; undated ones count when they came."""
    fields, at = split_payload(payload := split(data)[0])
    attested = ATTESTED_BY[fields[6]]
    first: int = received_ms if fields[8] is None else fields[8]
    if fields[0] != READINGS:
        return first, first, attested
    try:
        body = read_readings(payload, at)[0]
    except CodecError:
        return first, first, attested
    return first, first + int(body.offsets_ms[-1]), attested
