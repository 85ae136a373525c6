"""The genesis document."""

import json
from dataclasses import replace

import pytest

from terang.ledger.genesis import Genesis
from terang.values.errors import ChainCorrupt, SettingError

GENESIS = Genesis(
    chain_id=7, timestamp_s=1_700_000_000, signers=(b"\x02" * 20, b"\x01" * 20), alloc={b"\x03" * 20: 5}, epoch=10
)


def test_it_survives_its_document():
    """Reading what was written gives the same genesis, signers sorted."""
    assert Genesis.from_json(GENESIS.to_json()) == GENESIS
    assert GENESIS.signers == (b"\x01" * 20, b"\x02" * 20)


def test_the_document_is_what_geth_reads():
    """Chain id, Clique's parameters and all forks up to London from block 0 on are in it."""
    document = json.loads(GENESIS.to_json())
    assert document["config"]["clique"] == {"period": 1, "epoch": 10}
    assert document["config"]["londonBlock"] == 0
    assert "shanghaiTime" not in document["config"]
    assert bytes.fromhex(document["extraData"][2:]) == bytes(32) + b"\x01" * 20 + b"\x02" * 20 + bytes(65)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("config"),
        lambda d: d["config"].pop("londonBlock"),
        lambda d: d["config"].update(shanghaiTime=0),
        lambda d: d["config"].update(londonBlock=5),
        lambda d: d.update(difficulty="0x2"),
        lambda d: d.update(extraData="0x"),
        lambda d: d["alloc"].update({"03" * 20: {"balance": "0x5", "code": "0x00"}}),
    ],
)
def test_another_chain_s_document_is_refused(change):
    """What this product would seal differently from what the document says is not opened."""
    document = json.loads(GENESIS.to_json())
    change(document)
    with pytest.raises(ChainCorrupt):
        Genesis.from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"config": 3}'])
def test_what_is_no_document_is_refused(text):
    """Not JSON, or not a genesis: one clear error."""
    with pytest.raises(ChainCorrupt):
        Genesis.from_json(text)


@pytest.mark.parametrize(
    "fields",
    [{"chain_id": 0}, {"period_s": 0}, {"epoch": 0}, {"signers": ()}, {"signers": (b"short",)}, {"alloc": {b"x": 1}}],
)
def test_an_impossible_genesis_is_refused(fields):
    """What no client could begin from is a wrong setting."""
    with pytest.raises(SettingError):
        replace(GENESIS, **fields)
