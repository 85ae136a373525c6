"""Pruning of state."""

import pytest
import rlp

from terang.ledger.chain_store import ChainStore, StoredBlock
from terang.ledger.clique import Header
from terang.ledger.prune import StatePruner
from terang.values.errors import ChainRefused


def walk(chain, number: int) -> int:
    """The nodes that block's state reaches; fails when one is missing."""
    marked: set[bytes] = set()
    for _ in StatePruner(chain._store)._mark(chain.header(number).state_root, marked):
        pass
    return len(marked)


def test_the_last_heads_stay_and_older_state_goes(make_house):
    """After 60 blocks with 8 heads kept, at least those 8 are whole, the state is small, and history is complete."""
    house = make_house(kept_heads=8).settle()
    receipts = []
    for _ in range(60):
        receipts.append(house.found(house.signed(house.next_call())))
        while house.chain.tidy(50):
            pass
    head = house.chain.head().number
    for number in range(head - 7, head + 1):
        assert walk(house.chain, number) > 3
    live = walk(house.chain, head)
    assert house.chain._store.state_count() < live + 2 * 8 * live
    with pytest.raises(ChainRefused, match="pruned"):
        house.chain.evm.account(house.chain.header(20), house.committer.address)
    assert house.chain.evm.account(house.chain.header(head - 7), house.committer.address).nonce == head - 7
    assert [house.chain.receipt(r.tx_hash) for r in receipts] == receipts
    assert house.chain.verify(house.clock.now_ms() // 1000) == head


def test_sealing_between_the_steps_loses_nothing(make_house):
    """With one small step after each block the newest states are whole at every moment."""
    house = make_house(kept_heads=4).settle()
    for _ in range(40):
        house.found(house.signed(house.next_call()))
        house.chain.tidy(3)
        head = house.chain.head().number
        for number in range(max(head - 3, 0), head + 1):
            walk(house.chain, number)


def test_a_step_is_bounded(make_house):
    """A step visits about as many nodes as it may, and one cycle takes many of them."""
    house = make_house(kept_heads=4).settle()
    for _ in range(20):
        house.found(house.signed(house.next_call()))
    pruner = StatePruner(house.chain._store, kept_heads=4)
    steps = 0
    while pruner.step(2):
        steps += 1
    assert steps > 5
    assert not pruner.step(2)


def test_a_node_that_comes_back_is_not_swept(make_house, tmp_path):
    """A node that was out of use when the cycle began, and is written again meanwhile, stays."""
    house = make_house(kept_heads=4).settle()
    for _ in range(12):
        house.found(house.signed(house.next_call()))
    header = house.chain.head()
    house.chain.close()
    store = ChainStore(tmp_path / "a")
    try:
        leaf = rlp.encode([b"\x20" + b"\x01" * 32, b"stale" * 8])
        key = b"\x00" * 31 + b"\x07"
        store.append(block_after(header), {key: leaf})
        newest = store.head()
        assert newest is not None
        pruner = StatePruner(store, kept_heads=4)
        pruner.step(1)
        store.append(block_after(newest), {key: leaf})
        while pruner.step(1_000):
            pass
        assert store.state(key) == leaf
    finally:
        store.close()


def block_after(parent: Header) -> StoredBlock:
    """A made-up block with its parent's state, for the store only."""
    fields = {name: getattr(parent, name) for name in Header.__slots__}
    header = Header(**(fields | {"number": parent.number + 1, "parent_hash": parent.hash}))
    return StoredBlock(header=header, hash=header.hash, transactions=(), receipts=())
