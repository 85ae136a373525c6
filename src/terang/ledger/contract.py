"""The anchor contract as Python: what its calls, answers and events mean.

The contract's source is contracts/anchor.vy; the compiled artifact is shipped.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from terang.ledger.chain import Log
from terang.values.errors import ChainCorrupt, ChainRefused

__all__ = [
    "MAX_DATA_BYTES",
    "MAX_PROOF_NODES",
    "AnchorCall",
    "Anchored",
    "LogHead",
    "anchored_topics",
    "contract_abi",
    "contract_bytecode",
    "contract_runtime",
    "decode_anchor_call",
    "decode_anchored",
    "decode_committer",
    "decode_head",
    "encode_anchor_call",
    "encode_committer_query",
    "encode_head_query",
    "encode_register_call",
]

MAX_DATA_BYTES: Final = 100_000
MAX_PROOF_NODES: Final = 64

_ANCHOR_TYPES: Final = ("bytes32", "uint64", "uint64", "bytes32", "bytes32[]", "bytes")
_ANCHOR: Final = keccak(text="anchor(bytes32,uint64,uint64,bytes32,bytes32[],bytes)")[:4]
_REGISTER: Final = keccak(text="register(bytes32)")[:4]
_HEADS: Final = keccak(text="heads(bytes32)")[:4]
_COMMITTERS: Final = keccak(text="committers(bytes32)")[:4]
_ANCHORED: Final = keccak(text="Anchored(bytes32,uint64,uint64,bytes32)")



@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorCall:
    """One call of `anchor`: a site's log grows from `old_size` to `new_size` records, whose bytes are `data`.

    `site` and `root` are 32 bytes, `proof` the RFC 6962 consistency proof, empty when `old_size` is 0.
    """

    site: bytes
    old_size: int
    new_size: int
    root: bytes
    proof: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """The event that `anchor` leaves when it was accepted."""

    site: bytes
    old_size: int
    new_size: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHead:
    """A site's newest `size` [records] and `root` in the contract; size 0 and a zero root before the first anchor."""

    size: int
    root: bytes


@cache
def _artifact() -> dict[str, Any]:
    text = resources.files("terang.ledger").joinpath("artifacts/anchor.json").read_text(encoding="utf-8")
    artifact: dict[str, Any] = json.loads(text)
    return artifact


def contract_abi() -> list[dict[str, Any]]:
    """The contract's ABI, for web3.py and block explorers."""
    abi: list[dict[str, Any]] = _artifact()["abi"]
    return abi


def contract_bytecode() -> bytes:
    """The code that a deployment carries."""
    return bytes.fromhex(_artifact()["bytecode"][2:])


def contract_runtime() -> bytes:
    """The code that stands at the contract's address: what an auditor compares with the node's answer."""
    return bytes.fromhex(_artifact()["runtime"][2:])


def encode_register_call(site: bytes) -> bytes:
    """Calldata of `register`."""
    return _REGISTER + encode(["bytes32"], [site])


def encode_anchor_call(call: AnchorCall) -> bytes:
    """Calldata of `anchor`; raises ChainRefused when it could not be accepted whatever the head."""
    if len(call.data) > MAX_DATA_BYTES:
        raise ChainRefused(f"{len(call.data)} bytes do not fit into one anchor; cut the batch below {MAX_DATA_BYTES}")
    if not 0 <= call.old_size < call.new_size < 2**64:
        raise ChainRefused(f"a log cannot grow from {call.old_size} to {call.new_size} records")
    if len(call.proof) > MAX_PROOF_NODES or any(len(node) != 32 for node in (call.site, call.root, *call.proof)):  # noqa: PLR2004
        raise ChainRefused("site, root and each of at most 64 proof nodes must be 32 bytes")
    values = (call.site, call.old_size, call.new_size, call.root, list(call.proof), call.data)
    return _ANCHOR + encode(_ANCHOR_TYPES, values)


def decode_anchor_call(calldata: bytes) -> AnchorCall:
    """The call in this calldata; raises ChainCorrupt unless it is exactly what `encode_anchor_call` makes.

    ABI has many encodings of one call; the one form leaves no room to hide bytes from an audit.
    """
    if calldata[:4] != _ANCHOR:
        raise ChainCorrupt("the transaction does not call anchor")
    try:
        site, old_size, new_size, root, proof, data = decode(_ANCHOR_TYPES, calldata[4:])
    except (DecodingError, OverflowError) as error:
        raise ChainCorrupt(f"the calldata of an anchor cannot be decoded: {error}") from error
    call = AnchorCall(site=site, old_size=old_size, new_size=new_size, root=root, proof=tuple(proof), data=data)
    try:
        made = encode_anchor_call(call)
    except ChainRefused as error:
        raise ChainCorrupt(f"the calldata of an anchor is out of bounds: {error}") from error
    if made != calldata:
        raise ChainCorrupt("the calldata of an anchor is not in canonical form")
    return call


def decode_anchored(log: Log) -> Anchored | None:
    """The Anchored event in this log, or None when it is another event."""
    if len(log.topics) != 2 or log.topics[0] != _ANCHORED:  # noqa: PLR2004
        return None
    try:
        old_size, new_size, root = decode(["uint64", "uint64", "bytes32"], log.data)
    except DecodingError as error:
        raise ChainCorrupt(f"an Anchored event cannot be decoded: {error}") from error
    return Anchored(site=log.topics[1], old_size=old_size, new_size=new_size, root=root)


def anchored_topics(site: bytes) -> tuple[bytes, ...]:
    """The first topics of a site's Anchored events, by which a chain finds them."""
    return (_ANCHORED, site)


def encode_head_query(site: bytes) -> bytes:
    """Calldata that asks for a site's head; `decode_head` reads the answer."""
    return _HEADS + encode(["bytes32"], [site])


def decode_head(answer: bytes) -> LogHead:
    """The head in the answer to `encode_head_query`; raises ChainCorrupt when no such contract answered."""
    try:
        size, root = decode(["uint64", "bytes32"], answer)
    except DecodingError as error:
        raise ChainCorrupt("no anchor contract answers at this address; check the contract's address") from error
    return LogHead(size=size, root=root)


def encode_committer_query(site: bytes) -> bytes:
    """Calldata that asks who may extend a site's log; `decode_committer` reads the answer."""
    return _COMMITTERS + encode(["bytes32"], [site])


def decode_committer(answer: bytes) -> bytes | None:
    """The committer's address in the answer to `encode_committer_query`, None while the site is not registered."""
    try:
        (address,) = decode(["address"], answer)
    except DecodingError as error:
        raise ChainCorrupt("no anchor contract answers at this address; check the contract's address") from error
    committer = bytes.fromhex(address[2:])
    return committer if any(committer) else None
