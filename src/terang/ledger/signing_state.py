"""What was last signed, kept outside the store: a store that was restored from a backup must not sign a second history.

One line in one file, replaced atomically and fsynced before a signature leaves the process.
"""

import os
from pathlib import Path
from typing import NamedTuple

from terang.ledger.checkpoint import Checkpoint, sign_checkpoint
from terang.ledger.merkle import EMPTY_ROOT, verify_consistency
from terang.values.errors import LedgerError, LogForked, ProofError
from terang.values.signing import KeyPair

__all__ = ["Signed", "SigningState"]


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
        """The signed note for this size and root; LogForked if `consistency` does not show that it extends the last."""
        last = self.last
        if size == last.size and root != last.root:
            raise LogForked(f"a root for {size} records was signed before and was another one; run `terang restore`")
        if size < last.size:
            raise LogForked(f"{last.size} records were signed before, and now there are {size}; run `terang restore`")
        try:
            verify_consistency(last.size, size, last.root, root, consistency if last.size not in (0, size) else [])
        except ProofError as error:
            raise LogForked(f"the log does not extend what was signed at {last.size} records; {error}") from error
        self._write(Signed(size, root))
        return sign_checkpoint(self._key, Checkpoint(self._origin, size, root, time_ms))

    def _read(self) -> Signed:
        if not self._path.exists():
            return Signed(0, EMPTY_ROOT)
        try:
            size, root = self._path.read_text().split()
            return Signed(int(size), bytes.fromhex(root))
        except (OSError, ValueError) as error:
            raise LedgerError(
                f"{self._path} cannot be read; it says what was last signed, so take it from a backup"
            ) from error

    def _write(self, signed: Signed) -> None:
        temporary = self._path.with_suffix(".new")
        with temporary.open("w") as file:
            file.write(f"{signed.size} {signed.root.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self.last = signed
