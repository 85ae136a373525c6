"""A proof: what a stranger needs to check one record without the store, and the check itself.

The document is JSON; bytes are hex. Checking needs no database and no network: the signature over the record, the path
from its leaf to the root, and the signed checkpoint that names the root. Where the record stands on the chain is a
claim until a node is asked (`check_anchor`).
"""

from typing import Any, NamedTuple, Protocol

from terang.ledger.chain import Receipt
from terang.ledger.checkpoint import Checkpoint, open_checkpoint
from terang.ledger.contract import decode_anchor_call, decode_anchored
from terang.ledger.merkle import inclusion_path, verify_inclusion
from terang.ledger.tiles import LeafSource, TiledNodes
from terang.values.act import CONTEXT as ACT_CONTEXT
from terang.values.envelope import SIGNING_CONTEXT, Envelope, decode_payload, device_id, split_payload
from terang.values.errors import ChainCorrupt, CodecError, ProofError, SignatureError
from terang.values.record import ACT, ENVELOPE, KINDS, leaf_hash
from terang.values.signing import open_statement

__all__ = [
    "FORMAT",
    "AnchorClaim",
    "ChainReader",
    "Checked",
    "Subject",
    "build_proof",
    "check_anchor",
    "check_proof",
    "check_signature",
]

FORMAT = "terang-proof-1"
_Parsed = tuple["Subject", list[bytes], str, bytes, "AnchorClaim | None"]
_CONTEXTS = {ENVELOPE: SIGNING_CONTEXT, ACT: ACT_CONTEXT}


class ChainReader(Protocol):
    """What is asked of a chain to check an anchor: see `chain.Chain`."""

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """What became of a transaction."""
        ...

    def transaction(self, tx_hash: bytes) -> bytes | None:
        """The calldata of a sealed transaction."""
        ...

    def call(self, to: bytes, data: bytes) -> bytes:
        """What a contract answers as of the head."""
        ...


class Subject(NamedTuple):
    """The record that is to be proven: its `position`, `kind`, exact `data`, and the key of who signed it."""

    position: int
    kind: int
    data: bytes
    public_key: bytes


class AnchorClaim(NamedTuple):
    """Where the batch of the record stands on the chain."""

    chain_id: int
    contract: str
    transaction: str
    block_number: int
    block_hash: str


class Checked(NamedTuple):
    """What a proof proves: the record, and the checkpoint under whose root it stands. `fields` is the decoded envelope
    (None for an act of the platform).
    """

    subject: Subject
    checkpoint: Checkpoint
    checkpoint_key: bytes
    anchor: AnchorClaim | None
    fields: Any


def build_proof(
    subject: Subject, source: LeafSource, *, checkpoint: str, checkpoint_key: bytes, anchor: AnchorClaim | None
) -> dict[str, Any]:
    """The document that proves `subject` under a signed checkpoint that covers it."""
    size = open_checkpoint(checkpoint, checkpoint_key).size
    path = inclusion_path(TiledNodes(source), subject.position, size)
    return {
        "format": FORMAT,
        "record": {
            "position": subject.position,
            "kind": KINDS[subject.kind],
            "data": subject.data.hex(),
            "public_key": subject.public_key.hex(),
        },
        "path": [node.hex() for node in path],
        "checkpoint": checkpoint,
        "checkpoint_key": checkpoint_key.hex(),
        "anchor": anchor._asdict() if anchor else None,
    }


def check_proof(document: object) -> Checked:
    """What the document proves; ProofError, saying which step does not hold, if it proves nothing."""
    fields = check_signature(document)
    subject, path, checkpoint_text, checkpoint_key, anchor = _read(document)
    checkpoint = open_checkpoint(checkpoint_text, checkpoint_key)
    leaf = leaf_hash(subject.kind, subject.data)
    verify_inclusion(leaf, subject.position, checkpoint.size, path, checkpoint.root)
    return Checked(subject, checkpoint, checkpoint_key, anchor, fields)


def check_signature(document: object) -> Envelope | None:
    """The first step alone: the envelope that the document's record is, None for an act and for one whose body nobody
    can read; ProofError where it is not signed with the key that the document names.
    """
    subject = _read(document)[0]
    try:
        payload = open_statement(subject.public_key, subject.data, _CONTEXTS[subject.kind])
        head = split_payload(payload)[0] if subject.kind == ENVELOPE else None
    except (CodecError, SignatureError) as error:
        raise ProofError(f"the record is not signed with its key: {error}") from error
    if head is None:
        return None
    if head[1] != device_id(subject.public_key):
        raise ProofError("the record names another device than its key")
    try:
        return decode_payload(payload)
    except CodecError:
        return None  # signed, and set aside because its body cannot be read


def check_anchor(checked: Checked, chain: ChainReader) -> None:
    """ProofError unless a block of this chain holds the checkpoint's root where the proof says; ChainError where the
    chain could not be asked.
    """
    anchor = checked.anchor
    if anchor is None:
        raise ProofError("the proof names no block: the record was not anchored when it was made")
    transaction = bytes.fromhex(anchor.transaction)
    try:
        receipt = chain.receipt(transaction)
        calldata = chain.transaction(transaction)
        if receipt is None or calldata is None or not receipt.succeeded:
            raise ProofError("the chain does not hold the transaction that the proof names")
        call = decode_anchor_call(calldata)
    except ChainCorrupt as error:
        raise ProofError(f"what the chain holds there is no anchor: {error}") from error
    if (receipt.block_number, receipt.block_hash.hex()) != (anchor.block_number, anchor.block_hash):
        raise ProofError("the chain holds the transaction in another block")
    said = (checked.checkpoint.size, checked.checkpoint.root)
    if (call.new_size, call.root) != said:
        raise ProofError("the chain's root for this size is not the checkpoint's")
    events = [decode_anchored(log) for log in receipt.logs if log.address.hex() == anchor.contract]
    if said not in [(event.new_size, event.root) for event in events if event is not None]:
        raise ProofError("the contract that the proof names has not taken this root in that transaction")


def _read(document: object) -> _Parsed:
    try:
        return _parse(document)
    except (KeyError, TypeError, ValueError) as error:
        raise ProofError(f"this is not a proof that this version can read: {error}") from error


def _parse(document: object) -> _Parsed:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    record = document["record"]
    kinds = {word: kind for kind, word in KINDS.items()}
    subject = Subject(
        _whole(record["position"]),
        kinds[record["kind"]],
        bytes.fromhex(record["data"]),
        bytes.fromhex(record["public_key"]),
    )
    anchor = document["anchor"]
    return (
        subject,
        [bytes.fromhex(node) for node in document["path"]],
        str(document["checkpoint"]),
        bytes.fromhex(document["checkpoint_key"]),
        None if anchor is None else _claim(anchor),
    )


def _claim(anchor: dict[str, Any]) -> AnchorClaim:
    bytes.fromhex(anchor["transaction"])
    return AnchorClaim(
        _whole(anchor["chain_id"]),
        str(anchor["contract"]),
        anchor["transaction"],
        _whole(anchor["block_number"]),
        str(anchor["block_hash"]),
    )


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    return value
