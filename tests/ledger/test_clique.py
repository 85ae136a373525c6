"""Clique's rules for headers."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import rlp
from eth_keys.datatypes import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from terang.ledger.clique import (
    EMPTY_UNCLES_HASH,
    CliqueRules,
    Header,
    check_header,
    check_seal,
    difficulty_of,
    extra_data_of,
    may_sign,
    seal_header,
    signer_of,
)
from terang.values.errors import ChainCorrupt

KEYS = sorted((PrivateKey(bytes([n]) * 32) for n in range(1, 4)), key=lambda k: k.public_key.to_canonical_address())
SIGNERS = tuple(key.public_key.to_canonical_address() for key in KEYS)
RULES = CliqueRules(period_s=5, epoch=10, signers=SIGNERS)
NOW_S = 2_000


def header(number: int = 9, **fields: Any) -> Header:
    """A header after PARENT, unsealed."""
    made = Header(
        parent_hash=bytes(32),
        uncles_hash=EMPTY_UNCLES_HASH,
        coinbase=bytes(20),
        state_root=b"\x01" * 32,
        transactions_root=b"\x02" * 32,
        receipts_root=b"\x03" * 32,
        bloom=bytes(256),
        difficulty=1,
        number=number,
        gas_limit=30_000_000,
        gas_used=0,
        timestamp_s=1_000,
        extra_data=extra_data_of(number, RULES),
        mix_hash=bytes(32),
        nonce=bytes(8),
        base_fee=7,
    )
    return replace(made, **fields)


PARENT = header(9)
CHILD = header(10, parent_hash=PARENT.hash, timestamp_s=1_005)

headers = st.builds(
    header,
    number=st.integers(0, 2**40),
    timestamp_s=st.integers(0, 2**40),
    base_fee=st.integers(0, 2**100),
    bloom=st.binary(min_size=256, max_size=256),
)


@given(made=headers)
def test_a_header_survives_its_encoding(made):
    """Decoding what was encoded gives the same header and hash."""
    assert Header.decode(made.encode()) == made
    assert Header.decode(made.encode()).hash == made.hash


@given(made=headers, at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_changed_byte_goes_unseen(made, at, flip):
    """A changed byte is another header with another hash, or no header."""
    raw = bytearray(made.encode())
    raw[at % len(raw)] ^= flip
    with suppress(ChainCorrupt):
        assert Header.decode(bytes(raw)).hash != made.hash


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x80",
        rlp.encode([b""] * 15),
        rlp.encode([[b""]] * 16),
        rlp.encode([b"\x00"] * 16),
        PARENT.encode() + b"x",
    ],
)
def test_what_is_no_header_is_refused(raw):
    """Too few fields, nested fields, leading zeros and trailing bytes are one clear error."""
    with pytest.raises(ChainCorrupt):
        Header.decode(raw)


@given(made=headers, secret=st.binary(min_size=32, max_size=32).filter(any))
def test_the_seal_names_its_signer(made, secret):
    """Whoever seals is found again, and sealing changes nothing but the seal."""
    key = PrivateKey(secret[:31] + b"\x01")
    sealed = seal_header(made, key)
    assert signer_of(sealed) == key.public_key.to_canonical_address()
    assert replace(sealed, extra_data=made.extra_data) == made


def test_epoch_blocks_list_the_signers():
    """At every block divisible by the epoch extra data carries the sorted signers; elsewhere it does not."""
    assert extra_data_of(10, RULES)[32:-65] == b"".join(sorted(SIGNERS))
    assert extra_data_of(11, RULES) == bytes(97)


def test_a_right_child_passes():
    """The rules let a right header through, at the very second it was made."""
    check_header(CHILD, PARENT, RULES, 1_005)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"number": 11}, "does not follow"),
        ({"parent_hash": bytes(32)}, "does not follow"),
        ({"timestamp_s": 1_004}, "sooner than 5 s"),
        ({"timestamp_s": NOW_S + 1}, "1 s in the future"),
        ({"extra_data": bytes(97)}, "extra data"),
        ({"extra_data": bytes(32) + b"\x01" * 60 + bytes(65)}, "other signers"),
        ({"extra_data": bytes(32) + b"".join(SIGNERS[::-1]) + bytes(65)}, "other signers"),
        ({"coinbase": SIGNERS[0]}, "votes"),
        ({"nonce": b"\xff" * 8}, "votes"),
        ({"mix_hash": b"\x01" * 32}, "mix hash"),
        ({"uncles_hash": bytes(32)}, "uncles"),
    ],
)
def test_a_wrong_child_is_refused(fields, reason):
    """Each rule that is broken alone is named."""
    with pytest.raises(ChainCorrupt, match=reason):
        check_header(replace(CHILD, **fields), PARENT, RULES, NOW_S)


def test_turns_go_round():
    """Each block has one signer in turn, whose difficulty is 2, and over N blocks each signer once."""
    for number in range(30):
        assert sorted(difficulty_of(number, signer, RULES) for signer in SIGNERS) == [1, 1, 2]
    in_turn = [next(s for s in SIGNERS if difficulty_of(n, s, RULES) == 2) for n in range(3)]
    assert sorted(in_turn) == list(SIGNERS)


def test_no_signer_seals_twice_within_half_the_signers():
    """Of three signers none may seal two blocks in a row; a lone signer always may."""
    assert not may_sign(SIGNERS[0], [SIGNERS[0], SIGNERS[1]], RULES)
    assert may_sign(SIGNERS[0], [SIGNERS[1], SIGNERS[0]], RULES)
    assert not may_sign(b"\x09" * 20, [], RULES)
    lone = replace(RULES, signers=SIGNERS[:1])
    assert may_sign(SIGNERS[0], [SIGNERS[0]] * 5, lone)


def test_seals_are_judged():
    """A stranger's seal, one too soon, a wrong difficulty and no seal at all are refused; the right one is not."""
    key = KEYS[10 % 3]
    signer = key.public_key.to_canonical_address()
    right = seal_header(replace(CHILD, difficulty=2), key)
    assert check_seal(right, [], RULES) == signer
    with pytest.raises(ChainCorrupt, match="too recently"):
        check_seal(right, [signer], RULES)
    with pytest.raises(ChainCorrupt, match="difficulty"):
        check_seal(seal_header(CHILD, key), [], RULES)
    with pytest.raises(ChainCorrupt, match="no signer"):
        check_seal(seal_header(CHILD, PrivateKey(b"\x33" * 32)), [], RULES)
    with pytest.raises(ChainCorrupt, match="seal"):
        check_seal(CHILD, [], RULES)
    with pytest.raises(ChainCorrupt, match="no seal"):
        signer_of(replace(CHILD, extra_data=b""))
