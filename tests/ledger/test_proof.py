"""Proofs: what they show a stranger, that nothing changed passes, and how small and quick they are."""

import copy
import hashlib
import json
import random
import time
from dataclasses import replace

import pytest
from eth_keys.datatypes import PrivateKey

from terang.acts import Unsaid
from terang.ledger.checkpoint import Checkpoint, sign_checkpoint
from terang.ledger.clique import Header, seal_header
from terang.ledger.merkle import leaf_nodes, root_hash
from terang.ledger.packed import pack_bytes, unpack_bytes
from terang.ledger.proof import (
    STEPS,
    StepFailed,
    Subject,
    build_proof,
    check_on_chain,
    check_proof,
    check_signature,
    document_text,
    parse_document,
)
from terang.serve.pages import Pages
from terang.testing import FakeDevice, MemoryChain, MiniPlatform
from terang.values import envelope
from terang.values.act import Act, sign_act
from terang.values.command import AddRoom, AddUser, ConfirmBinding, PlaceMeter, StartTenancy
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
    platform.order(AddUser(name="budi", password_hash="$argon2id$x", role="tenant"))
    platform.adopt(device)
    platform.order(AddRoom(name="Kamar 1"))
    platform.order(StartTenancy(room="Kamar 1", user="budi", from_ms=NOW - 900_000))
    platform.order(PlaceMeter(device=device.id.hex(), address=1, room="Kamar 1"))
    platform.take_all([device.readings([VALUES] * 3, utc_ms=NOW - 600_000 + 1000 * i) for i in range(150)])
    platform.anchor()
    platform.take_all([device.readings([VALUES], utc_ms=NOW - 300_000 + 1000 * i) for i in range(149)])
    platform.anchor()
    yield platform, device, Pages(platform.log, platform.chain, platform.clock)
    platform.close()


FIRST = 5  # the records before it are acts


def document(house, position, index=0, since=None):
    """The proof of a record, after a way through its text."""
    found = house[2].proof(position, index, since)
    assert found is not None
    assert (found.signed, found.logged, found.anchored, found.problem) == (True, True, True, None)
    return parse_document(document_text(found.document))


def test_a_proof_shows_what_was_signed_and_where_it_stands(house):
    """Readings and acts: the exact bytes, the key, the place in the log, and the block of the chain that has
    the root.
    """
    platform, device, _ = house
    for position in (0, 1, 5, 150, 154, 155, 303):
        checked = check_proof(document(house, position))
        check_on_chain(checked, platform.chain)
        assert checked.subject.data == platform.log.records(position, position + 1)[0].data
        assert checked.subject.position == position
        if position >= FIRST:
            assert isinstance(checked.fields, Envelope)
            assert checked.fields.device == device.id
            assert [bound.act.name for bound in checked.bindings] == ["adopt_device", "place_meter", "start_tenancy"]
        else:
            assert checked.act is not None
            assert checked.subject.public_key == platform.key.public
        done = [step for step, _ in checked.steps]
        assert done == sorted(done, key=STEPS.index)
        assert {"signature", "inclusion", "checkpoint", "event", "seal", "genesis", "node"} <= set(done)


def test_a_proof_takes_the_tenants_word_along(tmp_path):
    """What ties a reading to a room may come after it: the proof waits for no block of it, and takes it along then."""
    device = FakeDevice(1)
    with MiniPlatform(tmp_path) as platform:
        pages = Pages(platform.log, platform.chain, platform.clock)
        platform.adopt(device)
        for name in ("budi", "wati"):
            platform.order(AddUser(name=name, password_hash="$argon2id$x", role="tenant"))
        platform.order(AddRoom(name="Kamar 1"))
        platform.take(device.readings([VALUES], utc_ms=NOW - 5000))
        platform.anchor()

        def shown():
            checked = check_proof(document((platform, device, pages), 4))
            return [bound.act.name for bound in checked.bindings]

        assert shown() == ["adopt_device"]
        platform.order(StartTenancy(room="Kamar 1", user="budi", from_ms=NOW - 9000))
        platform.order(PlaceMeter(device=device.id.hex(), address=1, room="Kamar 1"))
        assert shown() == ["adopt_device"]
        platform.anchor()
        assert shown() == ["adopt_device", "place_meter", "start_tenancy"]
        platform.order(ConfirmBinding(device=device.id.hex(), address=1), by="budi")
        assert shown() == ["adopt_device", "place_meter", "start_tenancy"]
        platform.anchor()
        assert shown() == ["adopt_device", "place_meter", "start_tenancy", "confirm_binding"]
        checked = check_proof(document((platform, device, pages), 4))
        told = f"record 7: the tenant confirmed the same at {platform.clock.now_ms()} ms UTC"
        assert ("bindings", told) in checked.steps


def test_only_the_tenants_own_word_counts(tmp_path):
    """An act in which the platform lets somebody else confirm is no confirmation."""
    device = FakeDevice(1)
    with MiniPlatform(tmp_path) as platform:
        platform.adopt(device)
        for name in ("budi", "wati"):
            platform.order(AddUser(name=name, password_hash="$argon2id$x", role="tenant"))
        platform.order(AddRoom(name="Kamar 1"))
        platform.order(StartTenancy(room="Kamar 1", user="budi"))
        platform.order(PlaceMeter(device=device.id.hex(), address=1, room="Kamar 1"))
        forged = Act("confirm_binding", platform.clock.now_ms(), 2, (device.id, 1, 1, 1))
        platform.pipeline.replay(sign_act(platform.key, forged), lambda _: Unsaid())
        platform.take(device.readings([VALUES], utc_ms=NOW))
        platform.anchor()
        found = Pages(platform.log, platform.chain, platform.clock).proof(7)
        assert found is not None
        assert "somebody else than the tenant" in (found.problem or "")


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
        new += [old[:-1], [*old, *old[-1:]], old[::-1]]
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
        check_on_chain(check_proof(document), chain)
    except ProofError:
        return False
    return True


FREE = {"anchor", "since"}  # a proof may name no block, and need not be made for a head


@pytest.mark.parametrize("position", [0, 7, 303])
def test_a_changed_proof_proves_nothing(house, position):
    """Any field changed, of another type, gone or doubled: ProofError, here or when a node is asked, and no other."""
    tried = 0
    for path, changed in changes(document(house, position, since=100)):
        if len(path) == 2 and path[0] in FREE and changed.get(path[0]) is None:
            continue
        bound = changed.get("bindings")
        if path[0] == "bindings" and isinstance(bound, list) and len(bound) < 3 and holds(changed, house[0].chain):
            continue  # less is bound, and nothing that is not so
        tried += 1
        assert not holds(changed, house[0].chain), path
    assert tried > 200


def test_every_changed_byte_is_refused(house, soak):
    """Each byte of the one form set to another: refused, with the step that failed."""
    text = document_text(document(house, 7, 1, 100))
    draw, failed = random.Random(5), set()
    places_ = range(len(text)) if soak(len(text), 400) == len(text) else sorted(draw.sample(range(len(text)), 400))
    for at in places_:
        other = draw.choice([letter for letter in '0123456789abcdefABC+/",:{}[] ' if letter != text[at]])
        with pytest.raises(StepFailed) as caught:
            check_on_chain(check_proof(parse_document(text[:at] + other + text[at + 1 :])), house[0].chain)
        failed.add(caught.value.step)
    assert failed >= {"form", "signature", "inclusion", "checkpoint", "event", "seal"}
    for cut in (0, 1, len(text) // 2, len(text) - 1):
        with pytest.raises(StepFailed):
            parse_document(text[:cut])
    for longer in (text + " ", "\n" + text, text.replace(":", ": ", 1), text[:-2] + ',"x":1}\n'):
        with pytest.raises(StepFailed):
            check_proof(parse_document(longer))


def test_a_second_form_of_the_same_bytes_is_refused(house):
    """The bits that base64 leaves over in the checkpoint's signature, and the receipt's nodes as keys of an object."""
    found = document(house, 7)
    note = found["checkpoint"]
    assert note.endswith("=\n")
    for changed, step in (
        ({"checkpoint": note[:-3] + chr(ord(note[-3]) + 1) + "=\n"}, "checkpoint"),
        ({"anchor": {**found["anchor"], "receipt": dict.fromkeys(sorted(found["anchor"]["receipt"]))}}, "form"),
    ):
        with pytest.raises(StepFailed) as caught:
            check_proof(parse_document(document_text({**found, **changed})))
        assert caught.value.step == step


@pytest.mark.parametrize(
    ("step", "change"),
    [
        ("reading", lambda d: d["reading"]["values"].update(power_mw=1)),
        ("reading", lambda d: d["reading"].update(index=1)),
        ("form", lambda d: d["path"].reverse()),
        ("inclusion", lambda d: d["record"].update(position=d["record"]["position"] + 1)),
        ("signature", lambda d: d["record"].update(public_key="00" * 32)),
        ("checkpoint", lambda d: d.update(checkpoint_key=KeyPair(b"\x09" * 32).public.hex())),
        ("bindings", lambda d: d["bindings"][0].update(position=4)),
        ("bindings", lambda d: d.update(platform_key=KeyPair(b"\x09" * 32).public.hex())),
        ("event", lambda d: d["anchor"].update(contract="11" * 20)),
        ("event", lambda d: d["anchor"].update(site="11" * 32)),
        ("event", lambda d: d["anchor"].update(transaction_index=1)),
        ("seal", lambda d: d["anchor"].update(block_number=9)),
        ("seal", lambda d: d["anchor"].update(block_hash="11" * 32)),
        ("genesis", lambda d: d["anchor"].update(genesis_hash="11" * 32)),
        ("seal", lambda d: d["anchor"].update(foreign_seal(d["anchor"]))),
    ],
)
def test_the_step_that_fails_is_named(house, step, change):
    """A swapped sibling, a foreign signature, another contract, a stranger's seal: each at its own step."""
    changed = document(house, 7)
    change(changed)
    with pytest.raises(StepFailed) as caught:
        check_proof(changed)
    assert caught.value.step == step


def foreign_seal(anchor):
    """The same header under the seal of a key that is no signer's."""
    header = Header.decode(unpack_bytes(anchor["header"]))
    sealed = seal_header(header, PrivateKey(b"\x66" * 32))
    return {"header": pack_bytes(sealed.encode()), "block_hash": sealed.hash.hex()}


def test_a_kept_head_catches_another_history(house, tmp_path):
    """One history with a head kept earlier or later: it holds. A rewritten log, a shorter one: refused at `head`."""
    platform, _, _ = house
    tree = leaf_nodes(platform.log.leaves(0, 1000))
    size = check_proof(document(house, 7)).checkpoint.size
    for kept in (1, 2, 100, 154, size - 1, size):
        checked = check_proof(document(house, 7, since=kept), head=(kept, root_hash(tree, kept)))
        assert checked.steps[-1][0] == "head"
        for wrong in ((kept, bytes(32)), (kept + 1000, root_hash(tree, kept))):
            with pytest.raises(StepFailed) as caught:
                check_proof(document(house, 7, since=kept), head=wrong)
            assert caught.value.step == "head"
    with pytest.raises(StepFailed, match="--since 3"):
        check_proof(document(house, 7), head=(3, root_hash(tree, 3)))
    later = (platform.log.size(), root_hash(tree, platform.log.size()))
    assert check_proof(document(house, 7, since=later[0]), head=later).steps[-1][0] == "head"


def test_a_proof_file_is_small(house, tmp_path):
    """At most 6 kB with everything in it: bindings, a head, the block's evidence, ten readings an envelope."""
    with MiniPlatform(tmp_path) as platform:
        device = FakeDevice(1)
        platform.order(AddUser(name="budi", password_hash="$argon2id$x", role="tenant"))
        platform.adopt(device)
        platform.order(AddRoom(name="Kamar 1"))
        platform.order(PlaceMeter(device=device.id.hex(), address=1, room="Kamar 1"))
        platform.order(StartTenancy(room="Kamar 1", user="budi", from_ms=NOW - 900_000))
        draw = random.Random(1)
        for i in range(1500):
            values = [tuple(draw.randrange(200_000, 300_000) for _ in range(6)) for _ in range(10)]
            platform.take(device.readings(values, utc_ms=NOW - 100_000_000 + 10_000 * i))
        platform.anchor()
        pages = Pages(platform.log, platform.chain, platform.clock)
        found = pages.proof(900, 3, 200)
        assert found is not None
        text = document_text(found.document)
        print(f"{len(text)} bytes")
        assert len(text) <= 6_000


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


def test_another_chain_is_not_this_one(house):
    """A node with another genesis, or another block of that number: refused at `node`."""
    checked = check_proof(document(house, 7))

    class Elsewhere(MemoryChain):
        def block(self, block_id):
            found = super().block(block_id)
            return found if found is None else replace(found, hash=bytes(32))

    check_on_chain(checked, house[0].chain)
    for chain in (Elsewhere(), MemoryChain()):
        with pytest.raises(StepFailed) as caught:
            check_on_chain(checked, chain)
        assert caught.value.step == "node"


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
    record = {"position": 0, "kind": "envelope", "data": pack_bytes(data), "public_key": key.public.hex()}
    assert check_signature({"record": record}) is not None
    with pytest.raises(ProofError):
        check_signature({"record": {**record, "public_key": key.public[:31].hex()}})


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
    subject = Subject(at, ENVELOPE, data, device.key.public)
    built = build_proof(subject, log, checkpoint=note, checkpoint_key=key.public, platform_key=key.public)
    made_ms = (time.perf_counter() - begun) * 1000
    text = json.dumps(built)
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        check_proof(json.loads(text))
        times.append((time.perf_counter() - begun) * 1000)
    size = len(unpack_bytes(built["nodes"])) + len(note.encode())
    median_ms = sorted(times)[10]
    print(f"{n} records: path and checkpoint {size} bytes, made in {made_ms:.1f} ms, checked in {median_ms:.2f} ms")
    assert size < 1000
    assert median_ms < 10
