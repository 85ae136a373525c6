"""Checkpoints: one text form, one key, nothing changed."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terang.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from terang.values.errors import ProofError
from terang.values.signing import KeyPair

KEY = KeyPair(b"\x21" * 32)
checkpoints = st.builds(
    Checkpoint,
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20),
    st.integers(0, 1 << 62),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 1 << 50),
)
NOTE = sign_checkpoint(KEY, Checkpoint("terang/test", 70, bytes(32), 1_763_600_000_000))


@given(checkpoint=checkpoints)
def test_a_checkpoint_survives(checkpoint):
    """What was signed is what is opened."""
    assert open_checkpoint(sign_checkpoint(KEY, checkpoint), KEY.public) == checkpoint


def test_the_note_has_the_form_of_c2sp():
    """Origin, size, root, an extension line, an empty line, and a signature line with the key's hash before it."""
    lines = NOTE.split("\n")
    assert lines[:2] == ["terang/test", "70"]
    assert base64.b64decode(lines[2]) == bytes(32)
    assert lines[4] == ""
    dash, name, signature = lines[5].split(" ")
    assert (dash, name) == ("\u2014", "terang/test")
    raw = base64.b64decode(signature)
    assert raw[:4] == hashlib.sha256(b"terang/test\n\x01" + KEY.public).digest()[:4]
    assert len(raw) == 68


def test_no_changed_character_changes_what_is_said():
    """Every single character replaced, lost or doubled is refused; but for an empty line amid the signatures and loose
    bits at the end of one, which say nothing."""
    said, taken = open_checkpoint(NOTE, KEY.public), 0
    for at in range(len(NOTE) - 1):
        for wrong in (NOTE[:at] + "7" + NOTE[at + 1 :], NOTE[:at] + NOTE[at + 1 :], NOTE[:at] + NOTE[at] + NOTE[at:]):
            try:
                assert open_checkpoint(wrong, KEY.public) == said
                taken += wrong != NOTE
            except ProofError:
                continue
    assert taken <= 3


@pytest.mark.parametrize(
    ("old", "new"),
    [("\n70\n", "\n070\n"), ("\n70\n", "\n+70\n"), ("\n70\n", "\n7_0\n"), ("\n70\n", "\n-70\n"), ("\n70\n", "\n٧٠\n"),
     ("time 1", "time  1"), ("time 1", "Time 1"), ("\n70\n", "\n" + "9" * 5000 + "\n"), ("AAA=\n", "AAB=\n")],
)  # fmt: skip
def test_another_form_of_the_same_numbers_is_refused(old, new):
    """Leading zeros, signs, other digits, base64 with loose bits: none is the one form."""
    assert old in NOTE
    with pytest.raises(ProofError):
        open_checkpoint(NOTE.replace(old, new), KEY.public)


@pytest.mark.parametrize("note", ["", "\n\n", "a\n1\nb\ntime 1\n\n", "x" * 100_000, "\x00\n\n\n", "a\n1\n\ntime 5\n\n"])
def test_what_is_no_checkpoint_is_refused(note):
    """Anything else raises ProofError."""
    with pytest.raises(ProofError):
        open_checkpoint(note, KEY.public)


def test_another_key_does_not_open_it_and_more_signatures_do_not_hurt():
    """Witnesses may add lines; the expected key's must be there."""
    other = KeyPair(b"\x22" * 32)
    with pytest.raises(ProofError):
        open_checkpoint(NOTE, other.public)
    body, _, line = NOTE.partition("\n\n")
    witness = sign_checkpoint(other, open_checkpoint(NOTE, KEY.public)).partition("\n\n")[2]
    both = f"{body}\n\n\u2014 someone AAAA\n{witness}{line}"
    assert open_checkpoint(both, KEY.public).size == 70
    assert open_checkpoint(both, other.public).size == 70
    for size in (0, 31, 33):
        with pytest.raises(ProofError):
            open_checkpoint(NOTE, bytes(size))
