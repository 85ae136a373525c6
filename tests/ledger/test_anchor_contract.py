"""contracts/anchor.vy, run in titanoboa, against an independent RFC 6962 oracle."""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terang.ledger.contract import contract_runtime

with warnings.catch_warnings():
    # What other people's libraries warn of while being imported is not about this contract.
    warnings.simplefilter("ignore")
    import boa

ROOT = Path(__file__).resolve().parent.parent.parent
SITE = b"\x07" * 32
sizes = st.integers(1, 70)


@pytest.fixture(scope="module")
def anchor() -> Any:
    """The contract, deployed, with one site registered."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deployed = boa.load(str(ROOT / "contracts" / "anchor.vy"))
    deployed.register(SITE)
    return deployed


def accepts(anchor: Any, old: int, new: int, root: bytes, proof: list[bytes], site: bytes = SITE) -> bool:
    """Whether the call goes through."""
    try:
        anchor.anchor(site, old, new, root, proof, b"data")
    except boa.BoaError:
        return False
    return True


def reach(anchor: Any, log: Any, size: int) -> None:
    """Bring an empty site to this size."""
    assert accepts(anchor, 0, size, log.root(size), [])


def test_the_artifact_is_what_the_source_compiles_to():
    """The shipped ABI and bytecode are those of the source under the pinned compiler."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", ROOT / "scripts" / "compile_contract.py", "--check"],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(contract_runtime()) > 500


@given(old=sizes, grow=sizes, data=st.data())
def test_accepted_exactly_when_the_oracle_accepts(anchor, reference_log, consistency_oracle, old, grow, data):
    """Whatever is done to a right proof, root or size, the contract and the oracle say the same."""
    log = reference_log(b"p")
    new = old + grow
    root, proof = log.root(new), log.consistency(old, new)
    assert consistency_oracle(old, new, log.root(old), root, proof)
    change = data.draw(st.sampled_from(
        ["none", "root", "other root", "flip", "drop first", "drop last", "add", "repeat", "swap", "old root", "empty",
         "rewritten"]
    ))
    junk = data.draw(st.binary(min_size=32, max_size=32))
    at = data.draw(st.integers(0, max(len(proof) - 1, 0)))
    if change == "root":
        root = junk
    elif change == "other root":
        root = log.root(data.draw(st.integers(1, 140)))
    elif change == "flip" and proof:
        proof[at] = bytes([proof[at][0] ^ 1]) + proof[at][1:]
    elif change == "drop first":
        proof = proof[1:]
    elif change == "drop last":
        proof = proof[:-1]
    elif change == "add":
        proof.insert(at, junk)
    elif change == "repeat" and proof:
        proof.insert(at, proof[at])
    elif change == "swap" and len(proof) > 1:
        proof[at], proof[at - 1] = proof[at - 1], proof[at]
    elif change == "old root":
        root, proof = log.root(old), []
    elif change == "empty":
        proof = []
    elif change == "rewritten":
        # Consistent in itself, but another history than the one anchored: what the check is there for.
        other = reference_log(b"q")
        root, proof = other.root(new), other.consistency(old, new)
    with boa.env.anchor():
        reach(anchor, log, old)
        assert accepts(anchor, old, new, root, proof) == consistency_oracle(old, new, log.root(old), root, proof)


@settings(max_examples=20)
@given(steps=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_a_log_grows_and_only_grows(anchor, reference_log, steps):
    """Right batches in order are accepted with their event; each one again, or an older head, is refused."""
    log = reference_log(b"g")
    size = 0
    with boa.env.anchor():
        for step in steps:
            new = size + step
            call = (SITE, size, new, log.root(new), log.consistency(size, new), b"records")
            anchor.anchor(*call)
            (event,) = anchor.get_logs()
            assert (event.site, event.old_size, event.new_size, event.root) == (SITE, size, new, log.root(new))
            assert tuple(anchor.heads(SITE)) == (new, log.root(new))
            assert not accepts(anchor, size, new, log.root(new), log.consistency(size, new))
            size = new
        assert not accepts(anchor, size, size, log.root(size), [])
        assert not accepts(anchor, 0, size + 1, log.root(size + 1), [])


def test_the_largest_batch_fits(anchor, reference_log):
    """100,000 bytes of data are taken, and one more is not."""
    root = reference_log().root(1)
    with boa.env.anchor():
        with pytest.raises(boa.BoaError):
            anchor.anchor(SITE, 0, 1, root, [], bytes(100_001))
        anchor.anchor(SITE, 0, 1, root, [], bytes(100_000))


def test_only_the_committer_anchors(anchor, reference_log):
    """Another account can neither take a site that is taken nor extend its log; an unregistered site has no log."""
    log = reference_log()
    stranger = boa.env.generate_address()
    with boa.env.anchor(), boa.env.prank(stranger):
        with boa.reverts("site is taken"):
            anchor.register(SITE)
        with boa.reverts("not the site's committer"):
            anchor.anchor(SITE, 0, 1, log.root(1), [], b"")
        with boa.reverts("not the site's committer"):
            anchor.anchor(b"\x08" * 32, 0, 1, log.root(1), [], b"")
        anchor.register(b"\x08" * 32)
        anchor.anchor(b"\x08" * 32, 0, 1, log.root(1), [], b"")
        assert anchor.committers(b"\x08" * 32) == stranger
    assert tuple(anchor.heads(SITE)) == (0, bytes(32))


def test_an_empty_log_takes_no_proof(anchor, reference_log):
    """From size 0 any root may begin, with an empty proof only."""
    log = reference_log()
    with boa.env.anchor():
        assert not accepts(anchor, 0, 3, log.root(3), [log.root(1)])
        assert accepts(anchor, 0, 3, log.root(3), [])
