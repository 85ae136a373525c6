"""A proof: what a stranger needs to check one record without store, network or trust in whoever made it, and the check.

The document is JSON in one form (docs/proof-format.md): a changed byte anywhere is refused. Checking goes step by step;
a step that does not hold names itself (`StepFailed`).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from eth_utils.exceptions import ValidationError
from rlp.exceptions import DecodingError

from terang.ledger.chain import Block, BlockEvidence, BlockId
from terang.ledger.checkpoint import Checkpoint, open_checkpoint
from terang.ledger.clique import Header, signer_of
from terang.ledger.contract import decode_anchored
from terang.ledger.evidence import decode_receipt, prove_receipt, receipt_of, signers_in
from terang.ledger.merkle import consistency_proof, inclusion_path, root_hash, verify_consistency, verify_inclusion
from terang.ledger.packed import pack_bytes, unpack_bytes
from terang.ledger.tiles import LeafSource, TiledNodes
from terang.values.act import CONTEXT as ACT_CONTEXT
from terang.values.act import Act, open_act
from terang.values.envelope import SIGNING_CONTEXT, Envelope, decode_payload, device_id, split, split_payload
from terang.values.errors import ChainError, CodecError, ProofError, SignatureError
from terang.values.quantity import BY_CODE
from terang.values.reading import Readings
from terang.values.record import ACT, ENVELOPE, KINDS, leaf_hash
from terang.values.signing import open_statement

__all__ = [
    "FORMAT",
    "STEPS",
    "AnchorPlace",
    "BlockSource",
    "Bound",
    "Checked",
    "Kept",
    "StepFailed",
    "Subject",
    "build_proof",
    "check_on_chain",
    "check_proof",
    "check_signature",
    "document_text",
    "parse_document",
]

FORMAT = "terang-proof-2"
STEPS = (
    *("form", "signature", "reading", "checkpoint", "inclusion", "bindings", "event", "seal", "genesis"),
    *("head", "node"),
)
"""What is checked, in this order; the last two only where a head was kept or a node can be asked."""

_HASH, _NOTE_LINES = 32, 6
_CONTEXTS = {ENVELOPE: SIGNING_CONTEXT, ACT: ACT_CONTEXT}
_SIZE_MAX = 1 << 20
_ANCHOR_FIELDS = {
    *("block_hash", "block_number", "contract", "genesis", "genesis_hash", "header", "log_index", "receipt"),
    *("signers", "site", "transaction_index"),
}
_FIELDS = {
    *("anchor", "bindings", "checkpoint", "checkpoint_key", "format", "nodes", "path", "platform_key", "reading"),
    *("record", "since"),
}
_ALTERED = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError)
_FOREIGN = (ValidationError, DecodingError)


class StepFailed(ProofError):
    """The check ended at this step, one of STEPS."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step


class Subject(NamedTuple):
    """The record that is to be proven: its `position`, `kind`, exact `data`, and the key of who signed it."""

    position: int
    kind: int
    data: bytes
    public_key: bytes


class AnchorPlace(NamedTuple):
    """Where the batch of the record was anchored."""

    contract: bytes
    site: bytes
    block_number: int
    transaction_index: int


class BlockSource(Protocol):
    """What is asked of a chain to build a proof, and to check one against a node: see `chain.Chain`."""

    def block(self, block_id: BlockId) -> Block | None:
        """The block of this number."""
        ...

    def evidence(self, number: int) -> BlockEvidence | None:
        """The header and the receipts of this block."""
        ...


class Kept(NamedTuple):
    """A head of the log, earlier or later than the proof's, and the path between the two."""

    size: int
    root: bytes
    path: list[bytes]


class Bound(NamedTuple):
    """What an act says that binds the record's device to a meter, a room, a tenancy: its place in the log, and what."""

    position: int
    act: Act


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a proof proves. `fields` is the decoded envelope (None for an act, and for a body that nobody can read),
    `act` the decoded act. `steps`: what was checked, in order, each with one sentence on what that says.
    """

    subject: Subject
    checkpoint: Checkpoint
    checkpoint_key: bytes
    fields: Envelope | None
    act: Act | None
    reading: Mapping[str, Any] | None
    bindings: tuple[Bound, ...]
    block_number: int | None = None
    block_hash: bytes | None = None
    genesis_hash: bytes | None = None
    since: Kept | None = None
    steps: list[tuple[str, str]] = field(default_factory=list)


def document_text(document: Mapping[str, Any]) -> str:
    """The one text of a document."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True) + "\n"


def parse_document(text: str) -> dict[str, Any]:
    """The document of a proof's text; StepFailed at `form` where it is not in its one form."""
    with _step("form"):
        if len(text) > _SIZE_MAX:
            raise ProofError("this is no proof: it is larger than any")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ProofError(f"this is no JSON document: {error}") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ProofError(f"this is not a proof of the format {FORMAT}")
        if document_text(document) != text:
            raise ProofError("the document is not in its one form: something was added, or written otherwise")
        return document


def build_proof(
    subject: Subject,
    source: LeafSource,
    *,
    checkpoint: str,
    checkpoint_key: bytes,
    platform_key: bytes,
    index: int = 0,
    bindings: Sequence[tuple[int, bytes]] = (),
    anchor: tuple[AnchorPlace, BlockSource] | None = None,
    since: int | None = None,
) -> dict[str, Any]:
    """The document that proves `subject`, and the reading at `index` of it, under a signed checkpoint that covers it.

    `bindings` are (position, exact bytes) of the acts that tie its device to a room and a tenancy; `since` is the size
    of a head that somebody has kept.
    """
    size = open_checkpoint(checkpoint, checkpoint_key).size
    tree, pool = TiledNodes(source), _Pool()
    path = pool.add(inclusion_path(tree, subject.position, size))
    bound = [
        {"data": pack_bytes(data), "path": pool.add(inclusion_path(tree, position, size)), "position": position}
        for position, data in bindings
        if position < size
    ]
    kept = None
    if since is not None:
        first, last = sorted((since, size))
        path_since = pool.add(consistency_proof(tree, first, last))
        kept = {"path": path_since, "root": root_hash(tree, since).hex(), "size": since}
    return {
        "anchor": None if anchor is None else _anchor_of(*anchor, size),
        "bindings": bound,
        "checkpoint": checkpoint,
        "checkpoint_key": checkpoint_key.hex(),
        "format": FORMAT,
        "nodes": pack_bytes(b"".join(pool.nodes)),
        "path": path,
        "platform_key": platform_key.hex() if bound or subject.kind == ACT else None,
        "reading": _reading_of(subject, index),
        "record": {
            "data": pack_bytes(subject.data),
            "kind": KINDS[subject.kind],
            "position": subject.position,
            "public_key": subject.public_key.hex(),
        },
        "since": kept,
    }


class _Pool:
    """Hashes of several paths, each once, in the order of their first use."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    def add(self, path: Iterable[bytes]) -> list[int]:
        numbers = []
        for node in path:
            if node not in self._numbers:
                self._numbers[node] = len(self.nodes)
                self.nodes.append(node)
            numbers.append(self._numbers[node])
        return numbers


def _reading_of(subject: Subject, index: int) -> dict[str, Any] | None:
    """What the record says of one moment, in words that can be read beside the bytes; None where it says no reading."""
    try:
        fields = _envelope_of(subject)
    except CodecError:
        return None
    if fields is None or not isinstance(fields.body, Readings) or not 0 <= index < len(fields.body.offsets_ms):
        return None
    utc_ms = None if fields.utc_ms is None else fields.utc_ms + fields.body.offsets_ms[index]
    values = {_quantity(code): column[index] for code, column in fields.body.columns.items()}
    return {"index": index, "utc_ms": utc_ms, "values": values}


def _quantity(code: int) -> str:
    return BY_CODE[code].name if code in BY_CODE else f"quantity_{code}"


def _envelope_of(subject: Subject) -> Envelope | None:
    if subject.kind != ENVELOPE:
        return None
    return decode_payload(open_statement(subject.public_key, subject.data, SIGNING_CONTEXT))


def _anchor_of(place: AnchorPlace, chain: BlockSource, size: int) -> dict[str, Any]:
    evidence, first = chain.evidence(place.block_number), chain.evidence(0)
    if evidence is None or first is None:
        raise ProofError(f"the chain does not hold block {place.block_number}, which the store names")
    header, genesis = Header.decode(evidence.header), Header.decode(first.header)
    logs = decode_receipt(evidence.receipts[place.transaction_index])[2]
    events = [decode_anchored(log) if log.address == place.contract else None for log in logs]
    log_index = next(
        (at for at, event in enumerate(events) if event and (event.site, event.new_size) == (place.site, size)), None
    )
    if log_index is None:
        raise ProofError(f"block {place.block_number} has no event of this log in the transaction that the store names")
    signers = ""
    if signer_of(header) not in signers_in(genesis):
        signers = pack_bytes(_epoch_header(chain, place.block_number))
    return {
        "block_hash": header.hash.hex(),
        "block_number": place.block_number,
        "contract": place.contract.hex(),
        "genesis": pack_bytes(first.header),
        "genesis_hash": genesis.hash.hex(),
        "header": pack_bytes(evidence.header),
        "log_index": log_index,
        "receipt": [pack_bytes(node) for node in prove_receipt(evidence.receipts, place.transaction_index)],
        "signers": signers,
        "site": place.site.hex(),
        "transaction_index": place.transaction_index,
    }


def _epoch_header(chain: BlockSource, number: int) -> bytes:
    """The newest header before this block that names the signers: every 30,000 blocks, after votes too (EIP-225)."""
    evidence = chain.evidence(number - number % 30_000)
    if evidence is None:
        raise ProofError("the chain does not hold the block that names its signers")
    return evidence.header


def check_signature(document: Mapping[str, Any]) -> Envelope | Act | None:
    """The first steps alone: what the record states; None where it is signed and nobody can read its body."""
    with _step("form"):
        subject = _subject(document)
    return _signed(subject)


def _signed(subject: Subject) -> Envelope | Act | None:
    with _step("signature"):
        try:
            payload = open_statement(subject.public_key, subject.data, _CONTEXTS[subject.kind])
            if subject.kind == ACT:
                return open_act(subject.public_key, subject.data)
            if split_payload(payload)[0][1] != device_id(subject.public_key):
                raise ProofError("the record names another device than its key")
        except (CodecError, SignatureError) as error:
            raise ProofError(f"the record is not signed with its key: {error}") from error
        try:
            return decode_payload(payload)
        except CodecError:
            return None  # signed, and set aside because its body cannot be read


def check_proof(document: Mapping[str, Any], *, head: tuple[int, bytes] | None = None) -> Checked:
    """What the document proves; StepFailed, naming the step, if it proves nothing.

    `head` is a (size, root) that somebody has kept: then the log of the proof must be one history with it.
    """
    with _step("form"):
        if set(document) != _FIELDS or document["format"] != FORMAT:
            raise ProofError(f"this is not a proof of the format {FORMAT}")
        subject, paths = _subject(document), _Paths(document)
        checkpoint_key = _hex(document["checkpoint_key"], 32)
        is_stated = bool(document["bindings"]) or subject.kind == ACT
        platform_key = _hex(document["platform_key"], 32) if is_stated else b""
        if not is_stated and document["platform_key"] is not None:
            raise ProofError("a platform's key is named, and nothing is signed with it")
        if subject.kind == ACT and platform_key != subject.public_key:
            raise ProofError("an act is signed with the platform's key, and the document names another")
    steps: list[tuple[str, str]] = []
    said = _signed(subject)
    what = "the platform" if subject.kind == ACT else f"device {device_id(subject.public_key).hex()}"
    steps.append(("signature", f"the record is signed with the key {subject.public_key.hex()} of {what}"))
    _check_reading(document, subject, steps)
    with _step("checkpoint"):
        note = str(document["checkpoint"])
        checkpoint = open_checkpoint(note, checkpoint_key)
        if note.count("\n") != _NOTE_LINES or not checkpoint.origin.isprintable():
            raise ProofError("the checkpoint has more lines than what the log has signed")
    with _step("inclusion"):
        leaf = leaf_hash(subject.kind, subject.data)
        verify_inclusion(leaf, subject.position, checkpoint.size, paths.record, checkpoint.root)
    point = f"the log {checkpoint.origin} of {checkpoint.size} records, root {checkpoint.root.hex()}"
    steps.append(("checkpoint", f"{point}, is signed with {checkpoint_key.hex()}"))
    steps.append(("inclusion", f"it stands at position {subject.position} of that log"))
    bindings = _check_bindings(document, paths, checkpoint, platform_key, subject)
    steps += [("bindings", text) for text in _binding_words(bindings)]
    anchor = _check_anchor(document["anchor"], checkpoint, steps) if document["anchor"] is not None else {}
    checked = Checked(
        subject=subject,
        checkpoint=checkpoint,
        checkpoint_key=checkpoint_key,
        fields=said if isinstance(said, Envelope) else None,
        act=said if isinstance(said, Act) else None,
        reading=document["reading"],
        bindings=tuple(bindings),
        since=paths.since,
        steps=steps,
        **anchor,
    )
    if checked.since is not None:
        _check_since(checked, checked.since)
    if head is not None:
        _check_head(checked, head)
    return checked


@contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except StepFailed:
        raise
    except (ProofError, ChainError, CodecError, SignatureError, *_ALTERED, *_FOREIGN) as error:
        raise StepFailed(name, str(error) or repr(error)) from error


def _subject(document: Mapping[str, Any]) -> Subject:
    record = document["record"]
    if set(record) != {"data", "kind", "position", "public_key"}:
        raise ProofError("the record has other fields than it should")
    kinds = {word: kind for kind, word in KINDS.items()}
    return Subject(
        _whole(record["position"]),
        kinds[record["kind"]],
        unpack_bytes(record["data"]),
        _hex(record["public_key"], 32),
    )


class _Paths:
    """The hashes of a document's paths; every one is used, and stands in the order of its first use."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        packed = unpack_bytes(document["nodes"])
        if len(packed) % _HASH:
            raise ProofError("the nodes are no hashes")
        self._nodes = [packed[at : at + _HASH] for at in range(0, len(packed), _HASH)]
        self._seen = 0
        self.record = self._path(document["path"])
        if not isinstance(document["bindings"], list):
            raise ProofError("the bindings are no list")
        self.bindings = [self._path(bound["path"]) for bound in document["bindings"]]
        kept = document["since"]
        self.since: Kept | None = None
        if kept is not None:
            if set(kept) != {"path", "root", "size"}:
                raise ProofError("the kept head has other fields than it should")
            self.since = Kept(_whole(kept["size"]), _hex(kept["root"], 32), self._path(kept["path"]))
        if self._seen != len(self._nodes) or len(set(self._nodes)) != len(self._nodes):
            raise ProofError("there are nodes that no path uses, or one twice")

    def _path(self, numbers: object) -> list[bytes]:
        if not isinstance(numbers, list):
            raise ProofError("a path is no list")
        for number in numbers:
            if _whole(number) > self._seen:
                raise ProofError("the nodes are not in the order of their first use")
            self._seen = max(self._seen, number + 1)
        return [self._nodes[number] for number in numbers]


def _check_reading(document: Mapping[str, Any], subject: Subject, steps: list[tuple[str, str]]) -> None:
    with _step("reading"):
        told = document["reading"]
        index = _whole(told["index"]) if told is not None else 0
        if json.dumps(told, sort_keys=True) != json.dumps(_reading_of(subject, index), sort_keys=True):
            raise ProofError("what the document says of the reading is not what was signed")
    if told is not None:
        values = ", ".join(f"{name} {value}" for name, value in told["values"].items())
        when = "at a time that the device did not know" if told["utc_ms"] is None else f"at {told['utc_ms']} ms UTC"
        steps.append(("reading", f"reading {index} of it says {values} {when}"))


def _check_bindings(
    document: Mapping[str, Any],
    paths: _Paths,
    checkpoint: Checkpoint,
    platform_key: bytes,
    subject: Subject,
) -> list[Bound]:
    """The acts that tie the device to a meter's room and a tenancy, each in the log and signed by the platform."""
    found: list[Bound] = []
    with _step("bindings"):
        for bound, path in zip(document["bindings"], paths.bindings, strict=True):
            if set(bound) != {"data", "path", "position"}:
                raise ProofError("a binding has other fields than it should")
            data, position = unpack_bytes(bound["data"]), _whole(bound["position"])
            verify_inclusion(leaf_hash(ACT, data), position, checkpoint.size, path, checkpoint.root)
            found.append(Bound(position, open_act(platform_key, data)))
        if found:
            _need_one_story(found, subject)
    return found


def _need_one_story(bindings: list[Bound], subject: Subject) -> None:
    """Adoption of this key, then the placing of this meter, then a tenancy of that room, then its confirmation."""
    rank = {"adopt_device": 0, "place_meter": 1, "start_tenancy": 2, "confirm_binding": 3}
    names = [bound.act.name for bound in bindings]
    if any(name not in rank for name in names) or names != sorted(set(names), key=rank.__getitem__):
        raise ProofError("the bindings are others than adoption, placing, tenancy and confirmation, in this order")
    values = {bound.act.name: bound.act.values for bound in bindings}
    if len(values.get("place_meter", (0, 0, 0))) < 3 or len(values.get("start_tenancy", (0,) * 4)) != 4:  # noqa: PLR2004
        raise ProofError("a binding states other things than it should")
    if subject.kind != ENVELOPE:
        raise ProofError("only a device's record can be bound to a room")
    head = split_payload(split(subject.data)[0])[0]
    device, meter = head[1], head[5]
    if "adopt_device" in values and values["adopt_device"] != (device, subject.public_key):
        raise ProofError("the adoption is of another key")
    if "place_meter" in values and values["place_meter"][:2] != (device, meter):
        raise ProofError("the placing is of another meter")
    if "start_tenancy" in values and values["start_tenancy"][1] != values.get("place_meter", (0, 0, None))[2]:
        raise ProofError("the tenancy is of another room")
    if "confirm_binding" in values:
        confirmed = (device, meter, values["place_meter"][2], values["start_tenancy"][0])
        if values["confirm_binding"] != confirmed:
            raise ProofError("what was confirmed is another binding")
        if bindings[-1].act.person != values["start_tenancy"][2]:
            raise ProofError("somebody else than the tenant confirmed")


def _binding_words(bindings: list[Bound]) -> Iterator[str]:
    for position, act in bindings:
        if act.name == "adopt_device":
            yield f"record {position}: the platform adopted this key at {act.at_ms} ms UTC"
        elif act.name == "place_meter":
            yield f"record {position}: this meter measures room {act.values[2]!r} from {act.at_ms} ms UTC on"
        elif act.name == "start_tenancy":
            tenancy, room, _, from_ms = act.values
            yield f"record {position}: tenancy {tenancy!r} of room {room!r} began at {from_ms!r} ms UTC"
        else:
            yield f"record {position}: the tenant confirmed the same at {act.at_ms} ms UTC"


def _check_anchor(anchor: Mapping[str, Any], checkpoint: Checkpoint, steps: list[tuple[str, str]]) -> dict[str, Any]:
    with _step("form"):
        if set(anchor) != _ANCHOR_FIELDS:
            raise ProofError("the anchor has other fields than it should")
        header, genesis = Header.decode(unpack_bytes(anchor["header"])), Header.decode(unpack_bytes(anchor["genesis"]))
        number, log_index = _whole(anchor["block_number"]), _whole(anchor["log_index"])
        contract, site = _hex(anchor["contract"], 20), _hex(anchor["site"], 32)
        if not isinstance(anchor["receipt"], list):
            raise ProofError("the receipt's nodes are no list")
        nodes = [unpack_bytes(node) for node in anchor["receipt"]]
        named = Header.decode(unpack_bytes(anchor["signers"])) if anchor["signers"] != "" else genesis
    with _step("event"):
        receipt = receipt_of(header, _whole(anchor["transaction_index"]), nodes)
        succeeded, _, logs = decode_receipt(receipt)
        event = decode_anchored(logs[log_index])
        said = (site, checkpoint.size, checkpoint.root)
        if not succeeded or logs[log_index].address != contract or event is None:
            raise ProofError("the transaction did not succeed, or its event is not one of that contract")
        if (event.site, event.new_size, event.root) != said:
            raise ProofError("the contract took another site, size or root than the checkpoint's")
    steps.append(("event", f"the contract 0x{contract.hex()} took that root for the site {site.hex()}"))
    with _step("seal"):
        if header.hash != _hex(anchor["block_hash"], 32) or header.number != number:
            raise ProofError("the header is not that of the block which the document names")
        signer, signers = signer_of(header), signers_in(named)
        if signer not in signers or named.number > number:
            raise ProofError(f"the block is sealed by 0x{signer.hex()}, who is no signer of the chain")
    steps.append(("seal", f"block {number} ({header.hash.hex()}) is sealed by 0x{signer.hex()}, one of {len(signers)}"))
    with _step("genesis"):
        if genesis.hash != _hex(anchor["genesis_hash"], 32) or genesis.number != 0:
            raise ProofError("the first header is not that of the chain which the document names")
        signers_in(genesis)
    learned = "its first block" if named is genesis else f"its block {named.number}, whose signers were voted in"
    steps.append(("genesis", f"the signers are those that the chain {genesis.hash.hex()} names in {learned}"))
    return {"block_number": number, "block_hash": header.hash, "genesis_hash": genesis.hash}


def _check_since(checked: Checked, kept: Kept) -> None:
    """The head that the proof was made for is one history with its own."""
    point = checked.checkpoint
    with _step("head"):
        (older, old_root), (newer, new_root) = sorted([(kept.size, kept.root), (point.size, point.root)])
        verify_consistency(older, newer, old_root, new_root, kept.path)


def _check_head(checked: Checked, head: tuple[int, bytes]) -> None:
    known = [(checked.checkpoint.size, checked.checkpoint.root)]
    known += [(checked.since.size, checked.since.root)] if checked.since is not None else []
    with _step("head"):
        if head[0] not in [size for size, _ in known]:
            raise ProofError(f"the proof was made for another head: ask for one with --since {head[0]}")
        if head not in known:
            raise ProofError(f"the log of the proof had another root at {head[0]} records than the one you have kept")
    checked.steps.append(("head", f"its log is one history with the head of {head[0]} records that you have kept"))


def check_on_chain(checked: Checked, chain: BlockSource) -> None:
    """StepFailed unless this node's chain is the proof's, and has its block; ChainError where it could not be asked."""
    number = checked.block_number
    if number is None:
        raise StepFailed("node", "the proof names no block: the record was not anchored when it was made")
    first, block = chain.block(0), chain.block(number)
    if first is None or first.hash != checked.genesis_hash:
        raise StepFailed("node", "that node has another chain than the proof's")
    if block is None or block.hash != checked.block_hash:
        raise StepFailed("node", f"block {number} of that node's chain is another one")
    checked.steps.append(("node", f"that node has the same chain, with this block {number}"))


def _hex(text: object, size: int) -> bytes:
    if not isinstance(text, str) or not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text):
        raise ProofError(f"a field does not hold {2 * size} hex digits")
    return bytes.fromhex(text)


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ProofError("a field does not hold a whole number")
    return value
