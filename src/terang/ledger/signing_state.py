"""What was last signed, kept outside the store: a store that was restored from a backup must not sign a second history.

One line in one file, replaced atomically and fsynced before a signature leaves the process.
"""

import os
from pathlib import Path
from typing import NamedTuple

from terang.ledger.checkpoint import Checkpoint, sign_checkpoint
from terang.ledger.merkle import EMPTY_ROOT, verify_consistency
from terang.values.errors import LedgerError, LogForked, ProofError, StoreError
from terang.values.signing import KeyPair

__all__ = ["Signed", "SigningState"]

_UNREADABLE = "{path} cannot be read; it says what was last signed, so take it from a backup"


class Signed(NamedTuple):
    """The newest signed size and root."""

    size: int
    root: bytes


class SigningState:
    """Signs checkpoints that extend the last one, and refuses all others."""

    def __init__(self, path: Path, key: KeyPair, origin: str) -> None:
        self._path = path
        self._key = key
        self._origin = origin
        self.last = self._read()

    def sign(self, size: int, root: bytes, consistency: list[bytes], time_ms: int) -> str:
        """The signed note for this size and root; LogForked unless it is one history with the last one.

        `consistency` is the proof between the last signed size and this one, whichever is larger. A smaller size may be
        signed after a larger one: that says nothing new.
        """
        last = self.last
        if size == last.size and root != last.root:
            raise LogForked(f"a root for {size} records was signed before and was another one; run `terang audit`")
        older, newer = (last, Signed(size, root)) if size >= last.size else (Signed(size, root), last)
        proof = consistency if older.size not in (0, newer.size) else []
        try:
            verify_consistency(older.size, newer.size, older.root, newer.root, proof)
        except ProofError as error:
            raise LogForked(
                f"what is to be signed for {size} records is no part of what was signed for {last.size}; {error};"
                " run `terang audit`"
            ) from error
        if newer is not last:
            self._write(newer)
        return sign_checkpoint(self._key, Checkpoint(self._origin, size, root, time_ms))

    def _read(self) -> Signed:
        if not self._path.exists():
            return Signed(0, EMPTY_ROOT)
        try:
            size, root = self._path.read_text().split()
            signed = Signed(int(size), bytes.fromhex(root))
        except (OSError, ValueError) as error:
            raise LedgerError(_UNREADABLE.format(path=self._path)) from error
        if signed.size < 1 or len(signed.root) != len(EMPTY_ROOT):
            raise LedgerError(_UNREADABLE.format(path=self._path))
        return signed

    def _write(self, signed: Signed) -> None:
        try:
            self._replace(f"{signed.size} {signed.root.hex()}\n")
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error}; nothing is signed until it can") from error
        self.last = signed

    def _replace(self, text: str) -> None:
        temporary = self._path.with_suffix(".new")
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
