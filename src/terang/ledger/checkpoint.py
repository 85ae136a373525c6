"""A checkpoint: the log's size and root at a time, signed, as a C2SP signed note that any transparency tool can read.

https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note: three lines (origin, size, root), one extension line
with the time, an empty line, and signature lines over everything before it.
"""

import base64
import binascii
import hashlib
from typing import NamedTuple

from nacl import bindings
from nacl.exceptions import BadSignatureError

from terang.values.errors import ProofError
from terang.values.signing import KeyPair

__all__ = ["Checkpoint", "open_checkpoint", "origin_of", "read_head", "sign_checkpoint"]

_ED25519 = b"\x01"
_DASH = "\u2014 "


class Checkpoint(NamedTuple):
    """`origin` names the log; `size` records have this `root` (32 bytes) at `time_ms` UTC."""

    origin: str
    size: int
    root: bytes
    time_ms: int

    def body(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\ntime {self.time_ms}\n"


def origin_of(site: bytes) -> str:
    """The name of a site's log in its checkpoints."""
    return f"terang/{site.hex()[:16]}"


def sign_checkpoint(key: KeyPair, checkpoint: Checkpoint) -> str:
    """The signed note."""
    body = checkpoint.body()
    signature = _key_hash(checkpoint.origin, key.public) + key.sign(body.encode())
    return f"{body}\n{_DASH}{checkpoint.origin} {base64.b64encode(signature).decode()}\n"


def read_head(text: str) -> tuple[int, bytes]:
    """(size, root) of a checkpoint that somebody has kept; its signature is not asked for: they know whence it came."""
    lines = text.replace("\r\n", "\n").split("\n")
    try:
        size, root = int(lines[1]), base64.b64decode(lines[2], validate=True)
    except (IndexError, ValueError, binascii.Error) as error:
        raise ProofError("this is no checkpoint: its second line is a size, its third a root") from error
    if size < 1 or len(root) != 32:
        raise ProofError("this is no checkpoint: its second line is a size, its third a root")
    return size, root


def open_checkpoint(note: str, public_key: bytes) -> Checkpoint:
    """The checkpoint of a note that this key signed; ProofError where it is not one. Other signatures are allowed."""
    body, separator, signatures = note.partition("\n\n")
    lines = body.split("\n")
    is_note = bool(separator) and signatures.endswith("\n")
    if not is_note or len(lines) < 4 or not lines[0] or not lines[3].startswith("time "):
        raise ProofError("this is not a checkpoint of a Terang log")
    try:
        root = base64.b64decode(lines[2], validate=True)
        checkpoint = Checkpoint(lines[0], int(lines[1]), root, int(lines[3].removeprefix("time ")))
    except (ValueError, binascii.Error) as error:
        raise ProofError("the checkpoint has a line that is not a number or a root") from error
    text = body + "\n"
    if len(root) != 32 or checkpoint.body() != text[: len(checkpoint.body())]:
        raise ProofError("the checkpoint is not in its one form")
    prefix = f"{_DASH}{checkpoint.origin} "
    wanted = _key_hash(checkpoint.origin, public_key)
    for line in signatures.split("\n"):
        if line.startswith(prefix) and _verifies(line.removeprefix(prefix), wanted, public_key, text):
            return checkpoint
    raise ProofError("the checkpoint is not signed with the expected key")


def _key_hash(origin: str, public_key: bytes) -> bytes:
    return hashlib.sha256(origin.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def _verifies(encoded: str, key_hash: bytes, public_key: bytes, text: str) -> bool:
    try:
        raw = base64.b64decode(encoded, validate=True)
        if base64.b64encode(raw).decode() != encoded:
            return False  # of its last character two bits say nothing: another form of the same signature
        if len(raw) != 68 or raw[:4] != key_hash or len(public_key) != 32:
            return False
        bindings.crypto_sign_open(raw[4:] + text.encode(), public_key)
    except (BadSignatureError, ValueError, binascii.Error):
        return False
    return True
