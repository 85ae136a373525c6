"""Checking many signatures: the one step of the path that takes longer than all others together.

Here, or in processes of their own, because Python's lock lets only one thread at a time do anything else.
"""

from collections.abc import Sequence

from terang.values.signing import is_signed_by
from terang.verify.envelopes import Claim

__all__ = ["check_claims"]


def check_claims(claims: Sequence[Claim]) -> list[bool]:
    """Whether each claim's signature verifies under its key, in the same order."""
    return [is_signed_by(claim.public_key, claim.payload, claim.signature) for claim in claims]
