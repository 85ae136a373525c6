"""A second client, @ethereumjs/blockchain + vm, reads our chain."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rlp

from terang.ledger.clique import Header, seal_header
from terang.ledger.embedded import write_blocks

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "tests" / "ethereumjs"

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def modules() -> str:
    """The folder that holds the client's node_modules."""
    done = subprocess.run([ROOT / "scripts" / "node_modules.sh", SCRIPT], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def judge(node_path: Path, modules: str, genesis: Path, blocks: Path) -> dict[str, Any]:
    """What the second client says of these blocks."""
    command: list[str | Path] = [node_path, SCRIPT / "check_blocks.mjs", modules, genesis, blocks]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return verdict


@pytest.fixture
def long_house(make_house):
    """A chain of 12 blocks with an epoch of 5: anchors, a revert, a deployment, and blocks of several transactions."""
    house = make_house(epoch=5).settle()
    for _ in range(3):
        house.chain.submit(house.signed(house.next_call(data=b"\xff" * 3_000)))
        house.chain.submit(house.signed(house.next_call(data=b"")))
        assert house.seal().tx_count == 2
    refused = house.found(house.signed(house.next_call(grow=1)))
    assert refused.succeeded
    house.size -= 1
    again = house.found(house.signed(house.next_call(grow=1)))
    assert not again.succeeded
    house.found(house.committer.deploy(**house.fields()))
    house.found(house.signed(house.next_call(grow=1000, data=b"\xaa" * 90_000)))
    while house.chain.head().number < 12:
        house.found(house.signed(house.next_call()))
    return house


def test_every_block_is_accepted(long_house, node_path, modules, tmp_path):
    """Another client accepts every block, roots and seals included, over two epochs, and arrives at the same head."""
    count = write_blocks(long_house.chain, tmp_path / "blocks.rlp")
    verdict = judge(node_path, modules, long_house.directory / "genesis.json", tmp_path / "blocks.rlp")
    assert verdict == {
        "accepted": 12,
        "refused": None,
        "genesis": "0x" + long_house.chain.header(0).hash.hex(),
        "head": "0x" + long_house.chain.head().hash.hex(),
    }
    assert count == 12


def test_a_tampered_block_is_refused(long_house, node_path, modules, tmp_path):
    """One changed byte in a batch's data makes the other client stop at that block."""
    blocks = [rlp.decode(raw) for raw in long_house.chain.export_blocks()]
    transaction = bytearray(blocks[2][1][0])
    transaction[transaction.index(b"\xff" * 64)] ^= 1
    blocks[2][1][0] = bytes(transaction)
    (tmp_path / "blocks.rlp").write_bytes(b"".join(rlp.encode(block) for block in blocks))
    verdict = judge(node_path, modules, long_house.directory / "genesis.json", tmp_path / "blocks.rlp")
    assert verdict["accepted"] == 2
    assert "transaction trie" in verdict["refused"]


def test_a_wrong_state_root_is_refused(long_house, node_path, modules, tmp_path):
    """A header with another state root, even under a valid seal, is refused after execution."""
    blocks = [rlp.decode(raw) for raw in long_house.chain.export_blocks()][:3]
    header = replace(Header.decode(rlp.encode(blocks[2][0])), state_root=b"\x11" * 32)
    blocks[2][0] = seal_header(header, long_house.chain._key).items()
    (tmp_path / "blocks.rlp").write_bytes(b"".join(rlp.encode(block) for block in blocks))
    verdict = judge(node_path, modules, long_house.directory / "genesis.json", tmp_path / "blocks.rlp")
    assert verdict["accepted"] == 2
    assert "state" in verdict["refused"]
