"""A head of the log as twelve words that people can compare by telephone, or write on paper."""

import hashlib
from functools import cache

from eth_account.hdaccount.mnemonic import Mnemonic
from eth_account.types import Language

__all__ = ["WORDS", "head_words"]

WORDS = 12
_CONTEXT = b"terang/v1/head"
_BITS = 11


@cache
def _list() -> list[str]:
    words: list[str] = Mnemonic(Language.ENGLISH).wordlist
    return words


def head_words(size: int, root: bytes) -> tuple[str, ...]:
    """Twelve words of BIP 39's English list: the first 132 bits of SHA-256(context, size as 8 bytes, root).

    Two logs with the same words have the same size and root, but for one chance in 2^132.
    """
    digest = int.from_bytes(hashlib.sha256(_CONTEXT + size.to_bytes(8, "big") + root).digest(), "big")
    numbers = [digest >> (256 - _BITS * (place + 1)) & ((1 << _BITS) - 1) for place in range(WORDS)]
    return tuple(_list()[number] for number in numbers)
