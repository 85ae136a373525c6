"""Proofs by somebody who holds every key: a house's owner may sign whatever two checkers could read differently."""

import random
from collections.abc import Sequence
from typing import Any

import rlp
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

from terang.ledger.checkpoint import Checkpoint, sign_checkpoint
from terang.ledger.clique import EMPTY_UNCLES_HASH, Header, seal_header
from terang.ledger.merkle import inclusion_path, leaf_nodes, root_hash
from terang.ledger.packed import pack_bytes
from terang.ledger.proof import document_text
from terang.values import cbor
from terang.values.envelope import Envelope, device_id, encode_payload
from terang.values.reading import Event, Lost, Readings, TimeFix
from terang.values.record import ACT, ENVELOPE, leaf_hash
from terang.values.signing import KeyPair, sign_statement

__all__ = ["forged_text"]

DEVICE, PLATFORM, LOG = (KeyPair(bytes((number,)) * 32) for number in (1, 2, 3))
ID = device_id(DEVICE.public)
SIGNER = PrivateKey(b"\x05" * 32)
SITE, CONTRACT = b"\x13" * 32, b"\xc0" * 20
ANCHORED = keccak(text="Anchored(bytes32,uint64,uint64,bytes32)")
NOW_MS = 1_763_600_000_000
ORIGINS = (*["terang/test"] * 20, "a\u00a0b", "\ud800", "é 漢", "a\u200bb", "\U0001f600", "-", " ")
ODD: tuple[Any, ...] = (0, 1, -1, 1 << 63, None, "", "kamar", b"", ID, [], [1], (), (1, 2), {}, {1: 2}, 5, "\x00é")
BODIES: tuple[tuple[int, Any, Any], ...] = (
    (1, Readings((0, 1000, 2000), {3: (1, -5, 70_000), 4: (1, 2, 3), 99: (0, 0, 1 << 40)}), 1),
    (1, Readings((0,), {1: (220_000,)}), 1),
    (2, Lost(bytes(8), 1, 2, 3, 4, 5, "full"), None),
    (3, TimeFix(bytes(8), 5, NOW_MS, 1), None),
    (4, Event("bus_dead", 3), None),
)


def forged_text(rng: random.Random) -> str:
    """A proof in its one form, properly signed, hashed and sealed over contents that are often spoilt."""
    kind, body, index = rng.choice(BODIES)
    utc = rng.choice((NOW_MS, NOW_MS, -NOW_MS))
    head = (kind, ID, bytes(8), 0, bytes(32), 1, 0, 5, utc, 1)
    record = sign_statement(DEVICE, spoilt(rng, encode_payload(Envelope(*head, body))))
    acts = [sign_statement(PLATFORM, payload, b"terang/v1/act") for payload in stories(rng)]
    others = [bytes((number,)) * 32 for number in range(3)]
    leaves = [*(leaf_hash(ACT, act) for act in acts), leaf_hash(ENVELOPE, record), *others]
    tree, size, nodes = leaf_nodes(leaves), len(leaves), list[bytes]()

    def path(position: int) -> list[int]:
        found = inclusion_path(tree, position, size)
        nodes.extend(node for node in found if node not in nodes)
        return [nodes.index(node) for node in found]

    checkpoint = Checkpoint(rng.choice(ORIGINS), size, root_hash(tree, size), rng.choice((NOW_MS, 0, -1)))
    document = {
        "path": path(len(acts)),
        "bindings": [{"data": pack_bytes(act), "path": path(at), "position": at} for at, act in enumerate(acts)],
        "anchor": anchor(rng, checkpoint) if rng.random() < 0.6 else None,
        "checkpoint": note(checkpoint),
        "checkpoint_key": LOG.public.hex(),
        "format": "terang-proof-2",
        "nodes": pack_bytes(b"".join(nodes)),
        "platform_key": PLATFORM.public.hex() if acts else None,
        "reading": reading(body, utc, index),
        "record": {
            "data": pack_bytes(record),
            "kind": "envelope",
            "position": len(acts),
            "public_key": DEVICE.public.hex(),
        },
        "since": None,
    }
    if rng.random() < 0.2:
        document["reading"] = None
    return document_text(document)


def mostly(rng: random.Random, usual: Any, *others: Any) -> Any:
    """The usual one, nine times in ten."""
    return usual if rng.random() < 0.9 else rng.choice(others)


def spoilt(rng: random.Random, data: bytes) -> bytes:
    """The same, or with a few bytes changed, gone, or added."""
    out = bytearray(data)
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        at = rng.randrange(len(out))
        how = rng.random()
        if how < 0.7:
            out[at] = rng.choice((rng.randrange(256), out[at] ^ 1, 0, 0xF6))
        elif how < 0.85:
            out.insert(at, rng.choice((0, 0xFF)))
        elif len(out) > 1:
            del out[at]
    return bytes(out)


def stories(rng: random.Random) -> list[bytes]:
    """Payloads of acts that tell one story, or nearly."""
    told: list[tuple[str, list[Any]]] = [
        ("adopt_device", [ID, DEVICE.public]),
        ("place_meter", [ID, 1, 7]),
        ("start_tenancy", [9, 7, 3, NOW_MS]),
        ("confirm_binding", [ID, 1, 7, 9]),
    ]
    payloads = []
    for name, values in told[: rng.randrange(5)]:
        if rng.random() < 0.15:
            values[rng.randrange(len(values))] = rng.choice(ODD)
        if rng.random() < 0.08:
            values.append(rng.choice(ODD))
        if rng.random() < 0.08:
            values.pop()
        if rng.random() < 0.06:
            continue
        person = mostly(rng, 3, 0, 4) if name == "confirm_binding" else 0
        fields: list[Any] = [1, name, NOW_MS, person, values]
        if rng.random() < 0.06:
            fields[rng.randrange(5)] = rng.choice(ODD)
        payloads.append(spoilt(rng, cbor.encode(fields)) if rng.random() < 0.1 else cbor.encode(fields))
    return payloads


def note(checkpoint: Checkpoint) -> str:
    """The signed note; of an origin that cannot be written one with a signature over something else."""
    try:
        return sign_checkpoint(LOG, checkpoint)
    except UnicodeEncodeError:
        said = sign_checkpoint(LOG, checkpoint._replace(origin="\ufffd"))
        return said.replace("\ufffd", checkpoint.origin)


def reading(body: object, utc: int, index: int | None) -> dict[str, Any] | None:
    if not isinstance(body, Readings) or index is None:
        return None
    index %= len(body.offsets_ms)
    names = {1: "voltage_mv", 3: "power_mw", 4: "energy_mwh", 99: "quantity_99"}
    values = {names[code]: column[index] for code, column in body.columns.items()}
    return {"index": index, "utc_ms": utc + body.offsets_ms[index], "values": values}


def anchor(rng: random.Random, checkpoint: Checkpoint) -> dict[str, Any]:
    """A block of one transaction whose receipt says nearly that this root was taken."""
    said = bytes(32) + checkpoint.size.to_bytes(32, "big") + checkpoint.root
    data = mostly(rng, said, said + b"\x01", said[:95], b"\x01" + said[1:], [])
    log: Any = [CONTRACT, mostly(rng, [ANCHORED, SITE], [ANCHORED], [ANCHORED, []], ANCHORED), data]
    if rng.random() < 0.1:
        log = rng.choice((log[:2], [*log, b""], b"abc", []))
    fields: list[Any] = [mostly(rng, b"\x01", b"", b"\x02", []), mostly(rng, b"\x05", b"", []), bytes(256), [log]]
    if rng.random() < 0.1:
        fields = rng.choice((fields[:3], [*fields, b""], [*fields[:3], b""]))
    receipt = rng.choice((b"", b"\x02")) + rlp.encode(fields)
    if rng.random() < 0.1:
        receipt = spoilt(rng, receipt)
    nodes = trie(rng, receipt)
    root = keccak(nodes[0])
    genesis = header(rng, mostly(rng, 0, 1, 5), bytes(32), SIGNER.public_key.to_canonical_address())
    block = seal_header(header(rng, 4, root, b""), SIGNER)
    if rng.random() < 0.1:
        seal = block.extra_data[-65:]
        odd = rng.choice((seal[:64] + b"\x1b", bytes(65), seal[:32] + bytes(33), b"\xff" * 64 + b"\x00"))
        block = header(rng, 4, root, b"", seal=odd)
    raw, first = (spoilt(rng, one) if rng.random() < 0.05 else one for one in (block.encode(), genesis.encode()))
    return {
        "block_hash": keccak(raw).hex(),
        "block_number": 4,
        "contract": CONTRACT.hex(),
        "genesis": pack_bytes(first),
        "genesis_hash": keccak(first).hex(),
        "header": pack_bytes(raw),
        "log_index": 0,
        "receipt": [pack_bytes(node) for node in nodes],
        "signers": "",
        "site": SITE.hex(),
        "transaction_index": 0,
    }


def trie(rng: random.Random, receipt: bytes) -> list[bytes]:
    """The nodes of a trie with this value at the key of index 0 (nibbles 8 and 0), of one of its many shapes."""
    leaf: Sequence[Any] = [b"\x20\x80", receipt]
    shape = rng.randrange(16)
    if shape == 0:  # a branch, and under it a leaf
        inner = rlp.encode([b"\x30", receipt])
        return [rlp.encode([keccak(inner) if at == 8 else b"" for at in range(17)]), inner]
    if shape == 1:  # an extension, and under it a branch with the value
        inner = rlp.encode([b""] * 16 + [receipt])
        return [rlp.encode([b"\x00\x80", keccak(inner)]), inner]
    if shape == 2:  # a node inside another
        return [rlp.encode([[b"\x30", receipt] if at == 8 else b"" for at in range(17)])]
    if shape == 3:
        leaf = rng.choice(([b"\x21\x80", receipt], [b"", receipt], [[], receipt], [b"\x20\x80", []], [b"\x20\x80"]))
    if shape == 4:
        return [rng.choice((rlp.encode(b"\x01" * 17), rlp.encode(b"ab"), b"\x05", rlp.encode([])))]
    return [rlp.encode(leaf), *([rlp.encode(leaf)] if shape == 5 else [])]


def header(rng: random.Random, number: int, root: bytes, signers: bytes, seal: bytes = bytes(65)) -> Header:
    vanity = mostly(rng, bytes(32), bytes(31), b"", bytes(33))
    return Header(
        parent_hash=bytes(32),
        uncles_hash=EMPTY_UNCLES_HASH,
        coinbase=bytes(20),
        state_root=bytes(32),
        transactions_root=bytes(32),
        receipts_root=root,
        bloom=bytes(256),
        difficulty=2,
        number=number,
        gas_limit=120_000_000,
        gas_used=0,
        timestamp_s=NOW_MS // 1000,
        extra_data=vanity + signers + seal,
        mix_hash=bytes(32),
        nonce=bytes(8),
        base_fee=0,
    )
