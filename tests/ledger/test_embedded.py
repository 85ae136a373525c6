"""The embedded chain: sealing, its traps, and reading back."""

from dataclasses import replace
from pathlib import Path

import pytest
import rlp
from eth_keys.datatypes import PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terang.ledger import embedded
from terang.ledger.chain import Activity
from terang.ledger.chain_view import ChainView
from terang.ledger.clique import Header, extra_data_of, seal_header
from terang.ledger.committer import Committer
from terang.ledger.contract import encode_register_call
from terang.ledger.embedded import EARLIEST_MS, LATEST_MS, EmbeddedChain, write_blocks
from terang.ledger.evm import CallReverted
from terang.values.errors import ChainCorrupt, ChainError, ChainInUse, SettingError

YEAR_MS = 365 * 86_400_000
# A signer may choose these within bounds: the gas limit may move by 1/1024 a block, the vanity be anything.
FREE = ("extra_data", "gas_limit")


def verified(chain: ChainView, clock) -> int:
    """The head after the whole chain was checked."""
    return chain.verify(clock.now_ms() // 1000)


def test_no_block_without_a_transaction(house):
    """Time alone seals nothing, and a block from elsewhere without a transaction is refused."""
    head = house.chain.head()
    for _ in range(5):
        house.clock.advance(60_000)
        assert house.chain.seal() is None
    assert house.chain.head() == head
    empty = replace(
        head, number=head.number + 1, parent_hash=head.hash, timestamp_s=head.timestamp_s + 1, gas_used=0,
        extra_data=bytes(97),
    )
    raw = rlp.encode([seal_header(empty, house.chain._key).items(), [], []])
    with pytest.raises(ChainCorrupt, match="no transaction"):
        house.chain.import_block(raw)


def test_at_most_one_block_a_period(house):
    """Before a period has passed nothing is sealed, whatever waits; then all of it goes into one block."""
    house.chain.submit(house.signed(house.next_call()))
    assert house.seal().tx_count == 1
    hashes = [house.chain.submit(house.signed(house.next_call())) for _ in range(4)]
    house.clock.advance(700)
    due = house.chain.seal_due_ms()
    assert due is not None
    assert house.chain.until_seal_ms() == due - house.clock.now_ms() == 50
    assert house.chain.seal() is None
    house.clock.advance(50)
    block = house.chain.seal()
    assert block is not None
    assert block.tx_hashes == tuple(hashes)
    assert all(house.chain.receipt(tx_hash).succeeded for tx_hash in hashes)
    assert [house.chain.receipt(tx_hash).index for tx_hash in hashes] == [0, 1, 2, 3]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(waits=st.lists(st.integers(0, 5_000), min_size=1, max_size=8))
def test_the_head_is_never_in_the_future(house, waits):
    """However fast or slow anchors come, every block's time is at least a period after its parent's and never ahead."""
    for wait in waits:
        parent = house.chain.head()
        house.chain.submit(house.signed(house.next_call()))
        while house.chain.seal() is None:
            house.clock.advance(max(wait, 1))
        assert house.chain.head().timestamp_s * 1000 <= house.clock.now_ms()
        assert house.chain.head().timestamp_s >= parent.timestamp_s + 1


def test_two_epochs_are_crossed(make_house):
    """With an epoch of 4 the chain goes on through blocks 4, 8 and 12, each of which lists the signer."""
    house = make_house(epoch=4).settle()
    while house.chain.head().number < 13:
        house.found(house.signed(house.next_call()))
    signer = house.chain.genesis.signers[0]
    listed = [n for n in range(1, 14) if house.chain.header(n).extra_data[32:-65] == signer]
    assert listed == [4, 8, 12]
    assert verified(house.chain, house.clock) == 13


@pytest.mark.parametrize(
    ("clock_ms", "says"),
    [
        (0, "not set"),
        (EARLIEST_MS - 1, "not set"),
        (LATEST_MS, "not set"),
        (4_300_000_000_000, "not set"),
        (1_763_600_000_000 - 86_400_000, "ahead of this machine's clock"),
    ],
)
def test_a_wrong_clock_pauses_and_the_right_one_resumes(house, clock_ms, says):
    """In 1970, 2106 or yesterday nothing is sealed and the status says why; with the clock right it goes on."""
    right_ms = house.clock.now_ms()
    house.chain.submit(house.signed(house.next_call()))
    house.clock.set_now_ms(clock_ms)
    assert house.chain.seal() is None
    status = house.chain.status()
    assert status.activity is Activity.PAUSED
    assert says in status.reason
    house.clock.set_now_ms(right_ms + 1_000)
    assert house.chain.status().activity is Activity.SEALING
    assert house.chain.seal() is not None
    assert verified(house.chain, house.clock) == house.chain.head().number


def test_a_long_sleep_is_no_fault(house):
    """A house that was closed for a year goes on where it was."""
    house.clock.advance(YEAR_MS)
    assert house.found(house.signed(house.next_call())).succeeded


def test_a_revert_is_recorded(house):
    """A call that the contract refuses stands in a block, with a receipt that says so and costs gas."""
    call = house.next_call()
    assert house.found(house.signed(call)).succeeded
    again = house.found(house.signed(call))
    assert not again.succeeded
    assert again.logs == ()
    assert again.gas_used > 21_000
    with pytest.raises(CallReverted, match="site is taken"):
        house.chain.call(house.contract, encode_register_call(house.site))


def test_the_same_bytes_twice_are_harmless(house):
    """Waiting or sealed, the same transaction is answered with its hash and counted once."""
    raw = house.signed(house.next_call())
    assert house.chain.submit(raw) == house.chain.submit(raw)
    assert house.seal().tx_count == 1
    house.chain.submit(raw)
    assert house.chain.waiting_count() == 0
    assert house.chain.seal_due_ms() is None


def test_equal_inputs_make_equal_chains(make_house):
    """Keys, clock and transactions decide every byte: two chains fed alike have the same head."""
    heads = []
    for name in ("a", "b"):
        house = make_house(name).settle()
        house.found(house.signed(house.next_call()))
        heads.append(house.chain.head())
    assert heads[0] == heads[1]


def test_a_follower_accepts_every_block(house, make_house):
    """A second machine without the key imports what was exported, arrives at the same head and cannot seal."""
    for _ in range(5):
        house.found(house.signed(house.next_call()))
    follower = make_house("follower", key=None)
    follower.clock.set_now_ms(house.clock.now_ms())
    for raw in house.chain.export_blocks():
        follower.chain.import_block(raw)
    assert follower.chain.head() == house.chain.head()
    assert verified(follower.chain, follower.clock) == 7
    assert "no signer key" in follower.chain.status().reason
    follower.chain.submit(house.signed(house.next_call()))
    follower.clock.advance(5_000)
    assert follower.chain.seal() is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([name for name in Header.__slots__ if name not in FREE]),
    at=st.integers(0, 255),
    flip=st.integers(1, 255),
)
def test_a_tampered_block_is_refused(house, name, at, flip):
    """Whatever field of the next block's header is changed, even under a good seal, it is not taken in."""
    house.chain.submit(house.signed(house.next_call()))
    kept: list[bytes] = []
    house.clock.advance(1_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddedChain, "_import", lambda self, raw, now_s: kept.append(raw))
        assert house.chain.seal() is None
    header_items, bodies, uncles = rlp.decode(kept[0])
    header = Header.decode(rlp.encode(header_items))
    value = getattr(header, name)
    if isinstance(value, int):
        changed = value ^ flip
    else:
        changed = bytearray(value)
        changed[at % len(changed)] ^= flip
        changed = bytes(changed)
    forged = seal_header(replace(header, **{name: changed}), house.chain._key)
    head = house.chain.head()
    nodes = house.chain._store.state_count()
    with pytest.raises(ChainCorrupt):
        house.chain.import_block(rlp.encode([forged.items(), bodies, uncles]))
    assert house.chain.head() == head
    assert house.chain._store.state_count() == nodes
    assert house.chain.import_block(kept[0]) == head.number + 1


@pytest.mark.parametrize("raw", [b"", b"\x00", rlp.encode([]), rlp.encode([b"", b"", b""]), b"\xf8" * 100])
def test_what_is_no_block_is_refused(house, raw):
    """Broken bytes are one clear error."""
    with pytest.raises(ChainCorrupt):
        house.chain.import_block(raw)


def test_a_block_that_we_would_refuse_is_not_committed(make_house, monkeypatch):
    """With the signers missing at an epoch block nothing is stored, the status tells, and later it goes on."""
    house = make_house(epoch=3).settle()
    house.chain.submit(house.signed(house.next_call()))
    monkeypatch.setattr(embedded, "extra_data_of", lambda number, rules: extra_data_of(1, rules))
    house.clock.advance(1_000)
    with pytest.raises(ChainCorrupt, match="extra data"):
        house.chain.seal()
    assert house.chain.head().number == 2
    assert "could not be sealed" in house.chain.status().reason
    monkeypatch.undo()
    assert house.seal().number == 3
    assert house.chain.status().activity is Activity.SEALING


def test_a_fee_cap_below_the_base_fee_is_refused(house):
    """A transaction that the next block could not take is turned away at once, and nobody else is held up."""
    low = house.committer._sign(20_261, house.chain.nonce(house.committer.address), 1, 21_000, b"\x04" * 20, b"")
    with pytest.raises(ChainError, match="below the base fee"):
        house.chain.submit(low)
    assert house.found(house.signed(house.next_call())).succeeded


def test_a_full_disk_pauses_and_loses_nothing(house):
    """While nothing can be written the status says so; with room again what waited is sealed."""
    tx_hash = house.chain.submit(house.signed(house.next_call(data=b"\x01" * 90_000)))
    pages = house.chain._store._db.execute("pragma page_count").fetchone()[0]
    house.chain._store._db.execute(f"pragma max_page_count={pages}")
    house.clock.advance(1_000)
    for _ in range(2):
        with pytest.raises(ChainError, match="check the disk"):
            house.chain.seal()
    assert "check the disk" in house.chain.status().reason
    assert house.chain.receipt(tx_hash) is None
    assert house.chain.head().number == 2
    house.chain._store._db.execute("pragma max_page_count=100000000")
    assert house.chain.seal() is not None
    assert house.chain.receipt(tx_hash).succeeded
    assert house.chain.status().activity is Activity.SEALING
    assert verified(house.chain, house.clock) == 3


def test_reopening_finds_everything(make_house):
    """After closing, head, receipts, calldata and state are there again, and sealing goes on."""
    house = make_house().settle()
    call = house.next_call()
    receipt = house.found(house.signed(call))
    now_ms = house.clock.now_ms()
    house.chain.close()
    again = make_house()
    again.clock.set_now_ms(now_ms)
    assert again.chain.receipt(receipt.tx_hash) == receipt
    house.chain, house.clock = again.chain, again.clock
    assert house.found(house.signed(house.next_call())).succeeded
    assert verified(again.chain, again.clock) == 4


def test_a_second_writer_is_told(house):
    """The chain's directory has one writer; the second gets an error that says so, and the first goes on."""
    with pytest.raises(ChainInUse, match="another process writes"):
        EmbeddedChain.open(house.directory, clock=house.clock)
    assert house.found(house.signed(house.next_call())).succeeded


def test_a_reader_beside_the_writer_sees_each_block(house):
    """A read-only view opens while the writer runs and sees what is sealed afterwards."""
    view = ChainView.open_read_only(house.directory)
    try:
        receipt = house.found(house.signed(house.next_call()))
        assert view.receipt(receipt.tx_hash) == receipt
        assert view.block("latest") == house.chain.block("latest")
        assert view.base_fee == house.chain.base_fee
        assert view.nonce(house.committer.address) == 3
        assert view.transaction(receipt.tx_hash) == house.chain.transaction(receipt.tx_hash)
        assert verified(view, house.clock) == 3
    finally:
        view.close()


def test_there_must_be_a_chain(tmp_path: Path, make_house):
    """Opening nothing, another chain's directory, or with a foreign key, is a clear error."""
    house = make_house()
    with pytest.raises(ChainError, match="there is no chain"):
        ChainView.open_read_only(tmp_path / "none")
    with pytest.raises(ChainError, match="no genesis"):
        EmbeddedChain.open(tmp_path / "none", clock=house.clock)
    house.chain.close()
    other = replace(house.chain.genesis, chain_id=5)
    with pytest.raises(SettingError, match="another genesis"):
        EmbeddedChain.open(house.directory, clock=house.clock, genesis=other)
    with pytest.raises(SettingError, match="no signer"):
        EmbeddedChain.open(house.directory, clock=house.clock, signer_key=PrivateKey(b"\x44" * 32))


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("update block set hash=zeroblob(32) where number=3", "block 3 does not fit its own hash"),
        ("delete from block where number=3", "block 3 is missing"),
        ("update block set body=(select body from block where number=2) where number=3", "block 3 does not fit"),
        ("update block set header=(select header from block where number=2) where number=3", "block 2 does not follow"),
        ("update place set position=5 where number=3", "block 3 does not fit its own index"),
        ("update block set body=x'00' where number=3", "damaged"),
    ],
)
def test_a_changed_file_is_found_and_named(house, sql, says):
    """Whatever is changed by hand in the file, the whole-chain check names the block."""
    for _ in range(3):
        house.found(house.signed(house.next_call()))
    house.chain._store._db.execute(sql)
    with pytest.raises(ChainCorrupt, match=says):
        verified(house.chain, house.clock)


def test_the_export_is_what_the_chain_holds(house, tmp_path: Path):
    """The written file is the blocks one after the other."""
    house.found(house.signed(house.next_call()))
    assert write_blocks(house.chain, tmp_path / "blocks") == 3
    assert (tmp_path / "blocks").read_bytes() == b"".join(house.chain.export_blocks())


def test_what_can_no_longer_execute_is_forgotten(make_house):
    """A nonce that a block from elsewhere used up is dropped at the next seal; what follows it goes on."""
    here, there = make_house("a").settle(), make_house("b").settle()
    stale = here.chain.submit(here.signed(here.next_call()))
    later = here.chain.submit(here.committer.register(b"\x01" * 32, contract=here.contract, **here.fields()))
    there.found(there.committer.register(b"\x02" * 32, contract=there.contract, **there.fields()))
    here.clock.set_now_ms(there.clock.now_ms())
    here.chain.import_block(list(there.chain.export_blocks())[-1])
    assert here.seal().tx_hashes == (later,)
    assert here.chain.waiting_count() == 0
    assert here.chain.receipt(stale) is None


def test_several_senders_keep_their_order(house):
    """Transactions of two accounts share a block, each account's in nonce order."""
    other = Committer(PrivateKey(b"\x01" * 32))
    fields = {"chain_id": 20_261, "base_fee": house.chain.base_fee}
    sent = []
    for nonce in range(3):
        raw = other.register(bytes([nonce]) * 32, contract=house.contract, nonce=nonce, **fields)
        sent.append(house.chain.submit(raw))
        sent.append(house.chain.submit(house.signed(house.next_call())))
    assert house.seal().tx_hashes == tuple(sent)
    assert all(house.chain.receipt(tx_hash).succeeded for tx_hash in sent)
