"""A witness: somebody elsewhere who co-signs a log's head only if it extends the one co-signed before.

The protocol is C2SP's tlog-witness, the signature its cosignature/v1 (https://c2sp.org/tlog-witness,
https://c2sp.org/tlog-cosignature), so that witnesses that exist can serve a Terang log, and ours other logs.
"""

import base64
import binascii
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from nacl import bindings
from nacl.exceptions import BadSignatureError

from terang.ledger.checkpoint import open_checkpoint, read_head
from terang.ledger.merkle import verify_consistency
from terang.values.errors import LedgerError, ProofError
from terang.values.signing import KeyPair

__all__ = [
    "Cosignature",
    "NotSigned",
    "Request",
    "Stale",
    "VerifierKey",
    "Witness",
    "open_cosignature",
    "parse_request",
    "request_text",
]

_COSIGNATURE = b"\x04"
_DASH = "\u2014 "
_PROOF_MAX = 63
_BLOB = 4 + 8 + 64


class Request(NamedTuple):
    """What a log asks of a witness: the size that it believes to be known, the proof from there, the signed note."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str


class Cosignature(NamedTuple):
    """A witness's word on a head: who, and when it saw it [UTC s]."""

    witness: str
    time_s: int
    line: str


class VerifierKey(NamedTuple):
    """A witness as others know it: its name and its Ed25519 key; as text `name+hash+key`, the form of signed notes."""

    name: str
    public_key: bytes

    def text(self) -> str:
        """The text that a platform's setting takes."""
        key = base64.b64encode(_COSIGNATURE + self.public_key).decode()
        return f"{self.name}+{_key_hash(self.name, self.public_key).hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """The key in such a text; ProofError where it is none."""
        try:
            name, hash_, encoded = text.split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise ProofError("a witness is named as NAME+HASH+KEY, as `terang witness` prints it") from error
        found = cls(name, raw[1:])
        if raw[:1] != _COSIGNATURE or not name or found.text() != text or hash_ != _key_hash(name, raw[1:]).hex():
            raise ProofError("a witness is named as NAME+HASH+KEY, as `terang witness` prints it")
        return found


class NotSigned(ProofError):
    """The note is no checkpoint that the log's own key has signed."""


class Stale(LedgerError):
    """The witness knows another size than the log believes; `size` is the witness's."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the witness has seen {size} records of this log")
        self.size = size


def request_text(request: Request) -> str:
    """The body of POST /add-checkpoint."""
    hashes = "".join(base64.b64encode(node).decode() + "\n" for node in request.proof)
    return f"old {request.old_size}\n{hashes}\n{request.note}"


def parse_request(text: str) -> Request:
    """The request in a body; ProofError where it is none."""
    head, separator, note = text.partition("\n\n")
    first, *hashes = head.split("\n")
    try:
        proof = tuple(base64.b64decode(line, validate=True) for line in hashes)
        old_size = int(first.removeprefix("old "))
    except (ValueError, binascii.Error) as error:
        raise ProofError("the request has a line that is neither a size nor a hash") from error
    if not separator or not first.startswith("old ") or old_size < 0 or len(proof) > _PROOF_MAX:
        raise ProofError("the request does not begin with the old size")
    if any(len(node) != 32 for node in proof):  # noqa: PLR2004 a hash
        raise ProofError("the request has a hash that is none")
    return Request(old_size, proof, note)


class Witness:
    """Co-signs heads of the logs whose keys it knows. The newest head of each stands in a file of its own, forced to
    disk before a signature leaves. One thread at a time.
    """

    def __init__(self, name: str, key: KeyPair, logs: dict[str, bytes], directory: Path) -> None:
        self.name = name
        self._key = key
        self._logs = logs
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def size_of(self, origin: str) -> int:
        """How many records of this log were co-signed; 0 where none were."""
        return self._known(origin)[0]

    def cosign(self, request: Request, now_s: int) -> str:
        """The signature line for the note; KeyError for a log that it does not know, NotSigned, Stale, or ProofError
        where it does not extend what was co-signed before.
        """
        origin = request.note.split("\n", 1)[0]
        key = self._logs[origin]
        try:
            checkpoint = open_checkpoint(request.note, key)
        except ProofError as error:
            raise NotSigned(str(error)) from error
        size, root = self._known(origin)
        if request.old_size != size:
            raise Stale(size)
        verify_consistency(size, checkpoint.size, root, checkpoint.root, request.proof)
        if checkpoint.size > size:
            self._keep(origin, checkpoint.size, checkpoint.root)
        message = _message(now_s, _body(request.note))
        blob = _key_hash(self.name, self._key.public) + now_s.to_bytes(8, "big") + self._key.sign(message)
        return f"{_DASH}{self.name} {base64.b64encode(blob).decode()}\n"

    def _path(self, origin: str) -> Path:
        return self._directory / hashlib.sha256(origin.encode()).hexdigest()

    def _known(self, origin: str) -> tuple[int, bytes]:
        path = self._path(origin)
        return read_head(path.read_text(encoding="utf-8")) if path.exists() else (0, hashlib.sha256(b"").digest())

    def _keep(self, origin: str, size: int, root: bytes) -> None:
        draft = self._path(origin).with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            file.write(f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path(origin))


def open_cosignature(note: str, lines: str, name: str, public_key: bytes) -> Cosignature:
    """The witness's word among these signature lines on a note; ProofError where it is not there or does not hold."""
    prefix = f"{_DASH}{name} "
    for line in lines.split("\n"):
        if not line.startswith(prefix):
            continue
        try:
            blob = base64.b64decode(line.removeprefix(prefix), validate=True)
        except (ValueError, binascii.Error):
            continue
        if len(blob) != _BLOB or blob[:4] != _key_hash(name, public_key):
            continue
        time_s = int.from_bytes(blob[4:12], "big")
        try:
            bindings.crypto_sign_open(blob[12:] + _message(time_s, _body(note)), public_key)
        except (BadSignatureError, ValueError) as error:
            raise ProofError("the witness's signature does not hold") from error
        return Cosignature(name, time_s, line)
    raise ProofError(f"there is no signature of the witness {name}")


def _body(note: str) -> str:
    """What is signed of a note: its text with the newline, without signatures."""
    return note.partition("\n\n")[0] + "\n"


def _message(time_s: int, body: str) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{body}".encode()


def _key_hash(name: str, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _COSIGNATURE + public_key).digest()[:4]

