"""Checking many signatures: the one step of the path that takes longer than all others together.

Here, or in a process of its own, because Python's lock lets only one thread at a time do anything else. What goes there
and back is two byte strings a group: one object for each claim would cost nearly as much as checking it saves.
"""

import struct
from collections.abc import Sequence

from terang.values.signing import is_signed_by
from terang.verify.envelopes import Claim

__all__ = ["check_claims", "check_packed", "pack_claims"]

_LENGTH = struct.Struct(">I")
_KEY, _SIGNATURE = 32, 64


def check_claims(claims: Sequence[Claim]) -> list[bool]:
    """Whether each claim's signature verifies under its key, in the same order."""
    return [is_signed_by(claim.public_key, claim.payload, claim.signature) for claim in claims]


def pack_claims(claims: Sequence[Claim]) -> bytes:
    """The claims as one byte string, for `check_packed` in another process."""
    parts: list[bytes] = []
    for public_key, payload, signature, _ in claims:
        parts += (_LENGTH.pack(len(payload)), public_key, signature, payload)
    return b"".join(parts)


def check_packed(packed: bytes) -> bytes:
    """One byte for each claim, in the same order: 1 where its signature verifies under its key, else 0."""
    verdicts = bytearray()
    at, end = 0, len(packed)
    while at < end:
        (length,) = _LENGTH.unpack_from(packed, at)
        key_at = at + _LENGTH.size
        signature_at = key_at + _KEY
        payload_at = signature_at + _SIGNATURE
        at = payload_at + length
        key, signature = packed[key_at:signature_at], packed[signature_at:payload_at]
        verdicts.append(is_signed_by(key, packed[payload_at:at], signature))
    return bytes(verdicts)
