"""One leaf of the log: its kind, its exact bytes and its hash (RFC 6962 section 2.1, with the kind inside the leaf)."""

import hashlib
from typing import NamedTuple

__all__ = ["ACT", "ENVELOPE", "KINDS", "Record", "leaf_hash"]

ENVELOPE = 1
ACT = 2

KINDS = {ENVELOPE: "envelope", ACT: "act"}
"""Kinds of record that exist now; a transfer and a binding take the next numbers."""


class Record(NamedTuple):
    """One leaf: `position` in the log counted from 0, `kind` from KINDS, the exact signed `data`."""

    position: int
    kind: int
    data: bytes

    @property
    def leaf(self) -> bytes:
        """The leaf hash, 32 bytes."""
        return leaf_hash(self.kind, self.data)


def leaf_hash(kind: int, data: bytes) -> bytes:
    """SHA-256(0x00, kind, data), 32 bytes: the 0x00 keeps a leaf from being taken for an inner node."""
    return hashlib.sha256(b"\x00" + bytes((kind,)) + data).digest()
