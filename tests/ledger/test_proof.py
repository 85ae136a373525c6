"""Proofs: what they show a stranger, that nothing changed passes, and how small and quick they are."""

import copy
import hashlib
import json
import time

import pytest

from terang.ledger.checkpoint import Checkpoint, sign_checkpoint
from terang.ledger.merkle import leaf_nodes, root_hash
from terang.ledger.proof import Subject, build_proof, check_anchor, check_proof, check_signature
from terang.serve.pages import Pages
from terang.testing import FakeDevice, MemoryChain, MiniPlatform
from terang.values import envelope
from terang.values.envelope import Envelope
from terang.values.errors import ProofError
from terang.values.reading import Readings
from terang.values.record import ENVELOPE, leaf_hash
from terang.values.signing import KeyPair

NOW = 1_763_600_000_000
VALUES = (220_000, 1_000, 220_000, 5_000, 50_000, 1_000)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A platform with 300 anchored records, and its pages."""
    platform = MiniPlatform(tmp_path_factory.mktemp("house"))
    device = FakeDevice(1)
    platform.adopt(device)
    platform.take_all([device.readings([VALUES] * 3, utc_ms=NOW - 600_000 + 1000 * i) for i in range(150)])
    platform.anchor()
    platform.take_all([device.readings([VALUES], utc_ms=NOW - 300_000 + 1000 * i) for i in range(149)])
    platform.anchor()
    yield platform, device, Pages(platform.log, platform.chain, platform.clock)
    platform.close()


def document(house, position):
    """The proof of a record, after a way through JSON."""
    found = house[2].proof(position)
    assert found is not None
    assert (found.signed, found.logged, found.anchored, found.problem) == (True, True, True, None)
    return json.loads(json.dumps(found.document))


def test_a_proof_shows_what_was_signed_and_where_it_stands(house):
    """Readings and acts: the exact bytes, the key, the place in the log, and the block of the chain that has
    the root.
    """
    platform, device, _ = house
    for position in (0, 1, 5, 150, 151, 299):
        checked = check_proof(document(house, position))
        check_anchor(checked, platform.chain)
        assert checked.subject.data == platform.log.records(position, position + 1)[0].data
        assert checked.subject.position == position
        if position:
            assert isinstance(checked.fields, Envelope)
            assert checked.fields.device == device.id
        else:
            assert checked.fields is None
            assert checked.subject.public_key == platform.key.public


def places(value, path=()):
    """The path to every value in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


def others(old):
    """Values that are not `old`: of other types, and nearly it."""
    new = [None, 0, -1, 1.5, True, "", "zz", [], {}, [None], {"a": 1}, float("inf"), 1 << 70]
    if isinstance(old, str) and old:
        middle = len(old) // 2
        new += [old[:-1], old + "0", old[:-2], old + "00", old[2:], ("0" if old[0] != "0" else "1") + old[1:]]
        new.append(old[:middle] + ("0" if old[middle] != "0" else "1") + old[middle + 1 :])
    elif isinstance(old, int):
        new += [old + 1, old - 1, str(old), float(old)]
    elif isinstance(old, list):
        new += [old[:-1], [*old, old[-1]], old[::-1]]
    return [value for value in new if type(value) is not type(old) or value != old]


def changes(document):
    """The document with one thing changed or gone, in every place."""
    for path in places(document):
        changed = copy.deepcopy(document)
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        old = parent.pop(path[-1])
        yield (*path, "gone"), changed
        for value in others(old):
            again = copy.deepcopy(document)
            parent = again
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = value
            yield (*path, repr(value)[:20]), again


def holds(document, chain):
    """Whether a proof passes every check; nothing but ProofError may come of it."""
    try:
        check_anchor(check_proof(document), chain)
    except ProofError:
        return False
    return True


@pytest.mark.parametrize("position", [0, 7, 299])
def test_a_changed_proof_proves_nothing(house, position):
    """Any field changed, of another type, gone or doubled: ProofError, here or when the chain is asked, and no
    other.
    """
    tried = 0
    for path, changed in changes(document(house, position)):
        if path[:2] == ("anchor", "chain_id") or (path[0] == "anchor" and changed.get("anchor") is None):
            continue  # whose chain is asked is the asker's choice; and a proof may name no block
        tried += 1
        assert not holds(changed, house[0].chain), path
    assert tried > 200


@pytest.mark.parametrize("wrong", [None, 5, "text", [], {}, {"format": "terang-proof-2"}, {"format": "terang-proof-1"}])
def test_what_is_no_proof_is_refused(wrong):
    """Any JSON at all: ProofError."""
    with pytest.raises(ProofError):
        check_proof(wrong)
    with pytest.raises(ProofError):
        check_signature(wrong)


def test_the_checkpoint_of_another_log_or_key_proves_nothing(house):
    """A root that another key signed, or another root that the right key signed, does not carry the record."""
    platform, _, _ = house
    good = document(house, 7)
    checked = check_proof(good)
    other = KeyPair(b"\x77" * 32)
    for key, point in [
        (other, checked.checkpoint),
        (platform.checkpoint_key, checked.checkpoint._replace(root=bytes(32))),
        (platform.checkpoint_key, checked.checkpoint._replace(size=299)),
    ]:
        with pytest.raises(ProofError):
            check_proof({**good, "checkpoint": sign_checkpoint(key, point)})


def test_a_transaction_without_the_contract_is_no_anchor(house):
    """The same calldata in a transaction to somewhere else leaves no event of the contract: the chain does not
    hold it.
    """
    platform, _, _ = house
    checked = check_proof(document(house, 7))

    class Elsewhere(MemoryChain):
        def receipt(self, tx_hash):
            found = platform.chain.receipt(tx_hash)
            return type(found)(**{name: getattr(found, name) for name in found.__slots__} | {"logs": ()})

        def transaction(self, tx_hash):
            return platform.chain.transaction(tx_hash)

    check_anchor(checked, platform.chain)
    with pytest.raises(ProofError, match="contract"):
        check_anchor(checked, Elsewhere())
    with pytest.raises(ProofError):
        check_anchor(checked, MemoryChain())


def test_a_signed_envelope_that_cannot_be_read_is_proven_too(tmp_path):
    """What was set aside stands in the log: its proof holds, and says nothing of its body."""
    platform, device = MiniPlatform(tmp_path), FakeDevice(1)
    platform.adopt(device)
    payload = envelope.encode_payload(
        Envelope(1, device.id, device.epoch, 0, bytes(32), 1, 0, 0, NOW, 1, Readings((0,), {1: (5,)}))
    )
    payload += b"\x00"
    platform.take(envelope.seal(payload, device.key.sign(envelope.signing_input(payload))))
    platform.anchor()
    found = Pages(platform.log, platform.chain, platform.clock).proof(1)
    assert found is not None
    assert found.problem is None
    assert check_proof(found.document).fields is None
    platform.close()


def test_a_shorter_key_is_another_key():
    """A key that ends in a zero byte does not verify without it."""
    key = next(pair for pair in (KeyPair(i.to_bytes(32, "big")) for i in range(1, 5000)) if pair.public[31] == 0)
    from_key = FakeDevice(1)
    from_key.key = key
    from_key.id = envelope.device_id(key.public)
    data = from_key.event("start")
    good: dict[str, object] = {
        "format": "terang-proof-1",
        "path": [],
        "checkpoint": "",
        "checkpoint_key": "",
        "anchor": None,
    }
    record = {"position": 0, "kind": "envelope", "data": data.hex(), "public_key": key.public.hex()}
    assert check_signature({**good, "record": record}) is not None
    with pytest.raises(ProofError):
        check_signature({**good, "record": {**record, "public_key": key.public[:31].hex()}})


class Million:
    """A log of many leaves as the store keeps it: leaves, and tiles of 256 and 65,536."""

    def __init__(self, leaves):
        self._leaves = leaves
        nodes = leaf_nodes(leaves)
        self._tiles = {level: [nodes.node(level, index) for index in range(len(leaves) >> level)] for level in (8, 16)}
        self.root = root_hash(nodes, len(leaves))

    def leaves(self, begin, end):
        return self._leaves[begin:end]

    def tiles(self, level, begin, end):
        return self._tiles[level][begin:end]


def test_a_proof_at_a_million_records_is_small_and_quick(soak):
    """Inclusion path and checkpoint below 1 kB, checked without the store in under 10 ms."""
    n = soak(1_000_000, 100_000)
    device, key = FakeDevice(1), KeyPair(b"\x33" * 32)
    at = n * 2 // 3 + 1
    data = device.readings([VALUES] * 60, utc_ms=NOW)
    leaves = [hashlib.sha256(i.to_bytes(8, "big")).digest() for i in range(n)]
    leaves[at] = leaf_hash(ENVELOPE, data)
    log = Million(leaves)
    note = sign_checkpoint(key, Checkpoint("terang/0123456789abcdef", n, log.root, NOW))
    begun = time.perf_counter()
    built = build_proof(
        Subject(at, ENVELOPE, data, device.key.public), log, checkpoint=note, checkpoint_key=key.public, anchor=None
    )
    made_ms = (time.perf_counter() - begun) * 1000
    text = json.dumps(built)
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        check_proof(json.loads(text))
        times.append((time.perf_counter() - begun) * 1000)
    size = sum(len(node) // 2 for node in built["path"]) + len(note.encode())
    median_ms = sorted(times)[10]
    print(f"{n} records: path and checkpoint {size} bytes, made in {made_ms:.1f} ms, checked in {median_ms:.2f} ms")
    assert size < 1000
    assert median_ms < 10
