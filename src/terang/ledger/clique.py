"""The rules of Clique (EIP-225) for headers, pure: who may seal, when, and what a sealed header looks like.

No votes: the signers are those of the genesis, and a header that votes is refused. That keeps the snapshot of signers a
constant, so that a chain opens in the same time whatever its height.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import rlp
from eth_keys.datatypes import PrivateKey, Signature
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from terang.values.errors import ChainCorrupt

__all__ = [
    "ADDRESS_BYTES",
    "DIFFICULTY_IN_TURN",
    "DIFFICULTY_OUT_OF_TURN",
    "EMPTY_UNCLES_HASH",
    "SEAL_BYTES",
    "VANITY_BYTES",
    "CliqueRules",
    "Header",
    "check_header",
    "check_seal",
    "difficulty_of",
    "extra_data_of",
    "may_sign",
    "seal_header",
    "signer_of",
]

VANITY_BYTES: Final = 32
SEAL_BYTES: Final = 65
ADDRESS_BYTES: Final = 20
DIFFICULTY_IN_TURN: Final = 2
DIFFICULTY_OUT_OF_TURN: Final = 1
EMPTY_UNCLES_HASH: Final = keccak(rlp.encode([]))
_FIELDS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CliqueRules:
    """The parameters of one chain: `period_s` between blocks, `epoch` in blocks, the sorted addresses that may seal."""

    period_s: int
    epoch: int
    signers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A London block header, field by field in the order of its RLP form (Yellow Paper 4.4, EIP-1559)."""

    parent_hash: bytes
    uncles_hash: bytes
    coinbase: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    bloom: bytes
    difficulty: int
    number: int
    gas_limit: int
    gas_used: int
    timestamp_s: int
    extra_data: bytes
    mix_hash: bytes
    nonce: bytes
    base_fee: int

    @classmethod
    def decode(cls, raw: bytes) -> "Header":
        """The header in these bytes; raises ChainCorrupt unless they are exactly one canonical London header."""
        try:
            items = rlp.decode(raw)
        except rlp.DecodingError as error:
            raise ChainCorrupt(f"block header is not RLP: {error}") from error
        if not isinstance(items, list) or len(items) != _FIELDS or not all(isinstance(i, bytes) for i in items):
            raise ChainCorrupt("block header does not have the 16 fields of a London header")
        header = cls(
            parent_hash=items[0],
            uncles_hash=items[1],
            coinbase=items[2],
            state_root=items[3],
            transactions_root=items[4],
            receipts_root=items[5],
            bloom=items[6],
            difficulty=int.from_bytes(items[7], "big"),
            number=int.from_bytes(items[8], "big"),
            gas_limit=int.from_bytes(items[9], "big"),
            gas_used=int.from_bytes(items[10], "big"),
            timestamp_s=int.from_bytes(items[11], "big"),
            extra_data=items[12],
            mix_hash=items[13],
            nonce=items[14],
            base_fee=int.from_bytes(items[15], "big"),
        )
        if header.encode() != raw:
            raise ChainCorrupt("block header is not in canonical RLP")
        return header

    def items(self) -> list[bytes]:
        """The fields as RLP items."""
        return [
            self.parent_hash,
            self.uncles_hash,
            self.coinbase,
            self.state_root,
            self.transactions_root,
            self.receipts_root,
            self.bloom,
            _number(self.difficulty),
            _number(self.number),
            _number(self.gas_limit),
            _number(self.gas_used),
            _number(self.timestamp_s),
            self.extra_data,
            self.mix_hash,
            self.nonce,
            _number(self.base_fee),
        ]

    def encode(self) -> bytes:
        """The RLP form."""
        return bytes(rlp.encode(self.items()))

    @property
    def hash(self) -> bytes:
        """The block's hash: Keccak-256 of the RLP form."""
        return keccak(self.encode())


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _seal_hash(header: Header) -> bytes:
    """What a signer signs: the header's hash without the 65 bytes of the seal (EIP-225, "sigHash")."""
    return keccak(replace(header, extra_data=header.extra_data[:-SEAL_BYTES]).encode())


def signer_of(header: Header) -> bytes:
    """The address whose key made the seal; raises ChainCorrupt when there is no valid seal."""
    if len(header.extra_data) < VANITY_BYTES + SEAL_BYTES:
        raise ChainCorrupt(f"block {header.number} has no seal")
    try:
        signature = Signature(signature_bytes=header.extra_data[-SEAL_BYTES:])
        return signature.recover_public_key_from_msg_hash(_seal_hash(header)).to_canonical_address()
    except (BadSignature, ValidationError, ValueError) as error:
        raise ChainCorrupt(f"block {header.number} has a broken seal: {error}") from error


def seal_header(header: Header, key: PrivateKey) -> Header:
    """The same header with its last 65 bytes of extra data replaced by this key's seal."""
    seal = key.sign_msg_hash(_seal_hash(header)).to_bytes()
    return replace(header, extra_data=header.extra_data[:-SEAL_BYTES] + seal)


def extra_data_of(number: int, rules: CliqueRules) -> bytes:
    """Extra data before sealing: vanity, at every epoch block the sorted signers, and room for the seal.

    A chain that leaves the signers out of an epoch block is refused there by every client, for good.
    """
    signers = b"".join(rules.signers) if number % rules.epoch == 0 else b""
    return bytes(VANITY_BYTES) + signers + bytes(SEAL_BYTES)


def difficulty_of(number: int, signer: bytes, rules: CliqueRules) -> int:
    """2 for the signer whose turn it is, 1 for another one."""
    in_turn = rules.signers[number % len(rules.signers)] == signer
    return DIFFICULTY_IN_TURN if in_turn else DIFFICULTY_OUT_OF_TURN


def may_sign(signer: bytes, recent: Sequence[bytes], rules: CliqueRules) -> bool:
    """Whether this signer may seal the next block: one of them, and at most one of any N/2+1 blocks in a row.

    `recent` are the signers of the blocks before, newest first; only the first N/2 matter (EIP-225, SIGNER_LIMIT).
    """
    return signer in rules.signers and signer not in recent[: len(rules.signers) // 2]


def check_header(header: Header, parent: Header, rules: CliqueRules, now_s: int) -> None:
    """Raise ChainCorrupt unless the header's own fields obey Clique after `parent` at the time `now_s` [s].

    The seal is `check_seal`'s, gas and base fee the virtual machine's.
    """
    where = f"block {header.number}"
    if header.number != parent.number + 1 or header.parent_hash != parent.hash:
        raise ChainCorrupt(f"{where} does not follow block {parent.number}")
    if header.timestamp_s < parent.timestamp_s + rules.period_s:
        raise ChainCorrupt(f"{where} comes sooner than {rules.period_s} s after its parent")
    if header.timestamp_s > now_s:
        raise ChainCorrupt(f"{where} lies {header.timestamp_s - now_s} s in the future")
    expected = extra_data_of(header.number, rules)
    if len(header.extra_data) != len(expected):
        raise ChainCorrupt(f"{where} has {len(header.extra_data)} bytes of extra data where {len(expected)} are due")
    if header.extra_data[VANITY_BYTES:-SEAL_BYTES] != expected[VANITY_BYTES:-SEAL_BYTES]:
        raise ChainCorrupt(f"{where} carries other signers than the chain's")
    if header.coinbase != bytes(ADDRESS_BYTES) or header.nonce != bytes(8):
        raise ChainCorrupt(f"{where} votes on signers, which this chain does not allow")
    if header.mix_hash != bytes(32) or header.uncles_hash != EMPTY_UNCLES_HASH:
        raise ChainCorrupt(f"{where} has a mix hash or uncles, which Clique knows not")


def check_seal(header: Header, recent: Sequence[bytes], rules: CliqueRules) -> bytes:
    """The signer, once it is certain that it might seal this block with this difficulty; else ChainCorrupt."""
    signer = signer_of(header)
    if signer not in rules.signers:
        raise ChainCorrupt(f"block {header.number} is sealed by 0x{signer.hex()}, who is no signer of this chain")
    if not may_sign(signer, recent, rules):
        raise ChainCorrupt(f"block {header.number} is sealed by 0x{signer.hex()}, who signed too recently")
    if header.difficulty != difficulty_of(header.number, signer, rules):
        raise ChainCorrupt(f"block {header.number} has difficulty {header.difficulty}, wrong for its signer's turn")
    return signer
