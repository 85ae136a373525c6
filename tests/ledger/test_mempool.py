"""What may wait for a block, and what may not."""

import pytest
from eth_account import Account as Signer

from terang.ledger.evm import Account, Transaction, decode_transaction
from terang.ledger.mempool import Mempool
from terang.values.errors import ChainRefused

CHAIN_ID = 5
SIGNER = Signer.from_key(b"\x02" * 32)
OTHER = Signer.from_key(b"\x03" * 32)
RICH = Account(nonce=0, balance=10**24, code=b"")
FEE = 100


def signed(nonce: int = 0, signer=SIGNER, **fields) -> bytes:
    """A transfer in its raw form."""
    fields = {
        "type": 2, "chainId": CHAIN_ID, "nonce": nonce, "maxFeePerGas": 200, "maxPriorityFeePerGas": 1, "gas": 21_000,
        "to": "0x" + "11" * 20, "value": 0,
    } | fields
    return bytes(signer.sign_transaction(fields).raw_transaction)


def transaction(nonce: int = 0, signer=SIGNER, **fields) -> Transaction:
    """A transfer."""
    return decode_transaction(signed(nonce, signer, **fields), CHAIN_ID)


@pytest.fixture
def pool() -> Mempool:
    """An empty one."""
    return Mempool(gas_limit=100_000)


def test_nonces_come_in_order(pool):
    """Only the next nonce may come; used, waiting and later ones are told apart."""
    pool.add(transaction(0), RICH, base_fee=FEE)
    pool.add(transaction(1), RICH, base_fee=FEE)
    assert pool.nonce_after(bytes(transaction().sender), 0) == 2
    with pytest.raises(ChainRefused, match="leaves a gap"):
        pool.add(transaction(3), RICH, base_fee=FEE)
    with pytest.raises(ChainRefused, match="another transaction with nonce 1 waits"):
        pool.add(transaction(1, value=1), RICH, base_fee=FEE)
    with pytest.raises(ChainRefused, match="nonce 1 is used up; the next one is 7"):
        pool.add(transaction(1, signer=OTHER), Account(nonce=7, balance=10**24, code=b""), base_fee=FEE)


def test_the_same_one_twice_counts_once(pool):
    """Adding again what waits changes nothing."""
    pool.add(transaction(), RICH, base_fee=FEE)
    pool.add(transaction(), RICH, base_fee=FEE)
    assert len(pool) == 1


@pytest.mark.parametrize(
    ("fields", "account", "reason"),
    [
        ({"gas": 100_001}, RICH, "over the block's limit"),
        ({"data": b"\x01" * 100}, RICH, "does not pay for the data; give 22600"),
        ({"maxFeePerGas": 99}, RICH, "below the base fee"),
        ({"value": 10**24}, RICH, "fund it"),
        ({}, Account(nonce=0, balance=21_000 * 200 - 1, code=b""), "fund it"),
        ({}, Account(nonce=0, balance=10**24, code=b"\x00"), "EIP-3607"),
        ({"data": bytes(131_072)}, RICH, "over the limit of 131072"),
    ],
)
def test_what_cannot_execute_is_refused(pool, fields, account, reason):
    """Each reason is told."""
    with pytest.raises(ChainRefused, match=reason):
        pool.add(transaction(**fields), account, base_fee=FEE)
    assert len(pool) == 0


def test_funds_are_counted_over_all_that_waits(pool):
    """Two that could each be paid, but not both, are not both taken."""
    purse = Account(nonce=0, balance=2 * 21_000 * 200 - 1, code=b"")
    pool.add(transaction(0), purse, base_fee=FEE)
    with pytest.raises(ChainRefused, match="fund it"):
        pool.add(transaction(1), purse, base_fee=FEE)


def test_it_is_bounded(pool):
    """The 513th is asked to come later, and may when one has left."""
    for nonce in range(512):
        pool.add(transaction(nonce), RICH, base_fee=FEE)
    with pytest.raises(ChainRefused, match="try again"):
        pool.add(transaction(512), RICH, base_fee=FEE)
    pool.remove([transaction(511).hash])
    pool.add(transaction(511), RICH, base_fee=FEE)


def test_a_block_takes_what_fits(pool):
    """What is over the block's gas waits with all that come after it from the same account."""
    for nonce, gas in enumerate([40_000, 70_000, 21_000]):
        pool.add(transaction(nonce, gas=gas), RICH, base_fee=FEE)
    pool.add(transaction(0, signer=OTHER), RICH, base_fee=FEE)
    picked = pool.pick(room=100_000, admit=lambda tx: True)
    assert [(tx.sender, tx.nonce) for tx in picked] == [
        (transaction().sender, 0), (transaction(signer=OTHER).sender, 0)
    ]
    assert [tx.nonce for tx in pool.pick(room=10**6, admit=lambda tx: tx.sender != transaction().sender)] == [0]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not a signed transaction"),
        (b"\x02\xc0", "not a signed transaction"),
        (b"\x7f123", "not a signed transaction"),
        (signed(chainId=6), "signed for chain 6, this is chain 5"),
        (signed(maxPriorityFeePerGas=201), "a tip above its own fee cap"),
    ],
)
def test_what_is_no_transaction_is_refused(raw, reason):
    """Broken bytes, another chain's and a nonsensical fee are one clear error."""
    with pytest.raises(ChainRefused, match=reason):
        decode_transaction(raw, CHAIN_ID)


def test_an_unprotected_transaction_is_refused():
    """A legacy transaction without a chain id could be replayed from anywhere."""
    raw = SIGNER.sign_transaction({"nonce": 0, "gasPrice": 200, "gas": 21_000, "to": "0x" + "11" * 20, "value": 0})
    with pytest.raises(ChainRefused, match="signed for chain None"):
        decode_transaction(bytes(raw.raw_transaction), CHAIN_ID)
