"""The anchor contract's calls and events as Python."""

from contextlib import suppress

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from terang.ledger.chain import Log
from terang.ledger.contract import (
    AnchorCall,
    Anchored,
    contract_abi,
    contract_runtime,
    decode_anchor_call,
    decode_anchored,
    decode_committer,
    decode_head,
    encode_anchor_call,
    encode_committer_query,
    encode_head_query,
)
from terang.values.errors import ChainCorrupt, ChainRefused

words = st.binary(min_size=32, max_size=32)
calls = st.builds(
    lambda old, grow, **rest: AnchorCall(old_size=old, new_size=old + grow, **rest),
    site=words,
    old=st.integers(0, 2**63),
    grow=st.integers(1, 1000),
    root=words,
    proof=st.lists(words, max_size=64).map(tuple),
    data=st.binary(max_size=300),
)
CALL = AnchorCall(site=bytes(32), old_size=1, new_size=2, root=bytes(32), proof=(b"\x09" * 32,), data=b"abc")


@given(call=calls)
def test_a_call_survives_its_calldata(call):
    """Decoding what was encoded gives the same call."""
    assert decode_anchor_call(encode_anchor_call(call)) == call


@given(call=calls, junk=st.binary(min_size=1, max_size=40))
def test_appended_bytes_are_refused(call, junk):
    """Calldata with anything behind it is not canonical."""
    with pytest.raises(ChainCorrupt):
        decode_anchor_call(encode_anchor_call(call) + junk)


@given(call=calls, at=st.integers(4, 10_000), flip=st.integers(1, 255))
def test_no_changed_byte_goes_unseen(call, at, flip):
    """A changed byte of calldata is another call or no call, never the same one."""
    calldata = bytearray(encode_anchor_call(call))
    calldata[4 + at % (len(calldata) - 4)] ^= flip
    with suppress(ChainCorrupt):
        assert decode_anchor_call(bytes(calldata)) != call


def test_another_layout_of_the_same_call_is_refused():
    """ABI allows the dynamic parts in any order and with gaps; an audit takes one order only."""
    canonical = encode_anchor_call(CALL)
    head = canonical[4 : 4 + 6 * 32]
    tail = canonical[4 + 6 * 32 :]
    shifted = head[: 4 * 32] + encode(["uint256", "uint256"], [6 * 32 + 32, 6 * 32 + 32 + 64]) + bytes(32) + tail
    with pytest.raises(ChainCorrupt):
        decode_anchor_call(canonical[:4] + shifted)


@pytest.mark.parametrize("calldata", [b"", b"\x00", encode_anchor_call(CALL)[:-1], encode_head_query(bytes(32))])
def test_what_is_no_anchor_is_refused(calldata):
    """Empty, cut or foreign calldata is one clear error."""
    with pytest.raises(ChainCorrupt):
        decode_anchor_call(calldata)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": bytes(100_001)}, "do not fit"),
        ({"new_size": 1}, "cannot grow"),
        ({"old_size": -1}, "cannot grow"),
        ({"new_size": 2**64}, "cannot grow"),
        ({"proof": (b"short",)}, "32 bytes"),
        ({"proof": (bytes(32),) * 65}, "at most 64"),
        ({"site": b""}, "32 bytes"),
    ],
)
def test_what_can_never_be_accepted_is_not_encoded(change, reason):
    """A batch outside the contract's bounds is refused before it costs anything."""
    fields = {name: getattr(CALL, name) for name in AnchorCall.__slots__} | change
    with pytest.raises(ChainRefused, match=reason):
        encode_anchor_call(AnchorCall(**fields))


def test_the_contract_on_our_chain(house):
    """On the embedded chain the contract's code is the shipped one, and head, committer and event say what was sent."""
    chain, committer = house.chain, house.committer
    assert chain.evm.account(chain.head(), house.contract).code == contract_runtime()
    assert decode_committer(chain.call(house.contract, encode_committer_query(house.site))) == committer.address
    assert decode_committer(chain.call(house.contract, encode_committer_query(bytes(32)))) is None
    assert decode_head(chain.call(house.contract, encode_head_query(house.site))).size == 0
    call = house.next_call(grow=1000, data=b"\xee" * 96_000)
    receipt = house.found(house.signed(call))
    assert receipt.succeeded
    assert [decode_anchored(log) for log in receipt.logs] == [
        Anchored(site=call.site, old_size=0, new_size=1000, root=call.root)
    ]
    assert decode_head(chain.call(house.contract, encode_head_query(house.site))).root == call.root
    assert decode_anchor_call(chain.transaction(receipt.tx_hash)) == call


def test_nothing_at_the_address_is_noticed(house):
    """A wrong contract address answers nothing, and that is said."""
    with pytest.raises(ChainCorrupt, match="check the contract's address"):
        decode_head(house.chain.call(b"\x05" * 20, encode_head_query(house.site)))


def test_other_events_are_passed_over():
    """Only Anchored is read as Anchored, and a mutilated one is an error."""
    assert decode_anchored(Log(address=bytes(20), topics=(), data=b"")) is None
    topic = next(entry for entry in contract_abi() if entry["type"] == "event" and entry["name"] == "Anchored")
    assert [argument["name"] for argument in topic["inputs"]] == ["site", "old_size", "new_size", "root"]


def test_a_mutilated_event_is_an_error(house):
    """The right signature with cut data is not passed over."""
    log = house.found(house.signed(house.next_call())).logs[0]
    with pytest.raises(ChainCorrupt):
        decode_anchored(Log(address=log.address, topics=log.topics, data=log.data[:-32]))
