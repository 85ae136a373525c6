"""The published vectors say what the code says."""

import json
import subprocess
import sys
from pathlib import Path

import cbor2
import pytest

from terang.values.envelope import SIGNING_CONTEXT, decode_payload, envelope_hash, split
from terang.values.receipt import CONTEXT, Receipt, Resend, decode_down
from terang.values.signing import KeyPair, is_signed_by, open_statement, sign_statement

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = ROOT / "tests" / "vectors" / "envelope.json"
VECTORS = json.loads(FILE.read_text(encoding="utf-8"))
DEVICE, PLATFORM = (KeyPair(bytes.fromhex(VECTORS[name]["seed"])) for name in ("device", "platform"))


def named(group: str):
    return pytest.mark.parametrize("vector", VECTORS[group], ids=lambda vector: vector["name"])


def test_the_file_is_what_the_script_writes(tmp_path):
    """Nobody has edited the vectors by hand, and they are those of today's code."""
    made = tmp_path / "envelope.json"
    subprocess.run([sys.executable, str(ROOT / "scripts" / "make_vectors.py"), str(made)], check=True)
    assert made.read_text(encoding="utf-8") == FILE.read_text(encoding="utf-8")


@named("good")
def test_a_good_envelope_is_made_and_read(vector):
    """Its bytes verify, decode to its fields, and a foreign CBOR library sees a COSE_Sign1 with the same payload."""
    signed, payload = bytes.fromhex(vector["signed"]), bytes.fromhex(vector["payload"])
    assert open_statement(DEVICE.public, signed) == payload
    assert sign_statement(DEVICE, payload) == signed
    envelope = decode_payload(payload)
    assert envelope.device.hex() == VECTORS["device"]["id"]
    assert (envelope.sequence, envelope.utc_ms) == (vector["fields"]["sequence"], vector["fields"]["utc_ms"])
    assert envelope_hash(signed).hex() == vector["hash"]
    foreign = cbor2.loads(signed)
    assert (foreign.tag, list(foreign.value)) == (18, [b"\xa1\x01\x27", {}, payload, split(signed)[1]])
    structure = cbor2.loads(bytes.fromhex(vector["signing_input"]))
    assert list(structure) == ["Signature1", b"\xa1\x01\x27", SIGNING_CONTEXT, payload]


def test_the_good_ones_are_a_chain():
    """Each names the hash of the one before; the first names none."""
    previous = bytes(32).hex()
    for sequence, vector in enumerate(VECTORS["good"]):
        assert (vector["fields"]["previous"], vector["fields"]["sequence"]) == (previous, sequence)
        previous = vector["hash"]


def test_every_refusal_is_for_one_reason():
    """The refused payloads are signed well, and differ from a good one in what their name says alone."""
    for vector in VECTORS["refused"]:
        if "payload" in vector:
            assert is_signed_by(DEVICE.public, bytes.fromhex(vector["payload"]), bytes.fromhex(vector["signed"])[-64:])
    assert len({vector["signed"] for vector in VECTORS["refused"]}) == len(VECTORS["refused"])


@named("down")
def test_a_message_down_is_read(vector):
    """Its bytes verify under the context of messages down, and hold what is said beside them."""
    payload = open_statement(PLATFORM.public, bytes.fromhex(vector["signed"]), CONTEXT)
    message = decode_down(payload)
    assert isinstance(message, Receipt | Resend)
    assert message.device.hex() == vector["device"]
    if isinstance(message, Receipt):
        assert vector["kind"] == "receipt"
        assert [[e.epoch.hex(), e.stored_end, e.anchored_end] for e in message.epochs] == vector["epochs"]
    else:
        assert [message.epoch.hex(), *message[2:]] == [
            vector["epoch"],
            vector["first_sequence"],
            vector["end_sequence"],
        ]
