"""contracts/anchor.vy, run in titanoboa, against an independent RFC 6962 oracle."""

import hashlib
import itertools
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

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


def above(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees (RFC 6962 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def sprouted(draw: Any, old: int, size: int, *, known: bool = True) -> tuple[bytes, bytes, list[bytes]]:
    """Old root, new root and consistency proof (RFC 6962 2.1.2) of two trees that nobody could hold in memory: every
    subtree that the proof names has a hash of its own.
    """
    if old == size:
        own = draw()
        return own, own, [] if known else [own]
    k = 1 << ((size - 1).bit_length() - 1)
    if old <= k:
        old_root, new_root, proof = sprouted(draw, old, k, known=known)
        right = draw()
        return old_root, above(new_root, right), [*proof, right]
    old_root, new_root, proof = sprouted(draw, old - k, size - k, known=False)
    left = draw()
    return above(left, old_root), above(left, new_root), [*proof, left]


@given(
    sizes=st.sets(st.integers(1, 2**63) | st.integers(0, 63).map(lambda bit: 1 << bit), min_size=2, max_size=2),
    salt=st.binary(max_size=4),
    at=st.integers(0, 63),
)
def test_logs_of_any_size(anchor, sizes, salt, at):
    """Up to 2**63 records, whose proofs have 64 hashes: the right one is taken; one changed bit, one hash less or
    one more is not.
    """
    old, new = sorted(sizes)
    numbers = itertools.count()
    old_root, root, proof = sprouted(lambda: hashlib.sha256(salt + b"%d" % next(numbers)).digest(), old, new)
    with boa.env.anchor():
        assert accepts(anchor, 0, old, old_root, [])
        at %= len(proof)
        flipped = [*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]]
        for wrong in (flipped, proof[:-1], proof[1:], [*proof, proof[-1]]):
            assert not accepts(anchor, old, new, root, wrong)
        assert accepts(anchor, old, new, root, proof)


class Sites(RuleBasedStateMachine):
    """Several landlords on one contract, each with a log of their own, and everybody tries everything."""

    names = st.sampled_from([bytes([number]) * 32 for number in range(3)])
    people = st.integers(0, 2)

    make_log: Any  # the fixture `reference_log`

    def __init__(self) -> None:
        super().__init__()
        self.anchored = boa.env.anchor()
        self.anchored.__enter__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.contract = boa.load(str(ROOT / "contracts" / "anchor.vy"))
        self.accounts = [boa.env.generate_address() for _ in range(3)]
        self.logs = {bytes([number]) * 32: self.make_log(bytes([number])) for number in range(3)}
        self.committers: dict[bytes, int] = {}
        self.sizes: dict[bytes, int] = {}

    def teardown(self) -> None:
        self.anchored.__exit__(None, None, None)

    @rule(site=names, person=people)
    def register(self, site: bytes, person: int) -> None:
        """Who comes first has the site, for good."""
        with boa.env.prank(self.accounts[person]):
            if site in self.committers:
                with boa.reverts("site is taken"):
                    self.contract.register(site)
            else:
                self.contract.register(site)
                self.committers[site] = person

    @rule(
        site=names, person=people, old=st.none() | st.integers(0, 30), grow=st.integers(0, 9), other=st.none() | names
    )
    def anchor(self, site: bytes, person: int, old: int | None, grow: int, other: bytes | None) -> None:
        """From the head or from elsewhere (`old`), of the own log or of `other`'s, by anybody."""
        size, log = self.sizes.get(site, 0), self.logs[other or site]
        begin = size if old is None else old
        end = begin + grow
        if begin == 0:
            log = self.logs[site]  # an empty site may begin with any log; here each begins with its own
        call = (begin, end, log.root(end) if end else bytes(32), log.consistency(begin, end))
        right = self.committers.get(site) == person and begin == size and grow > 0 and log is self.logs[site]
        with boa.env.prank(self.accounts[person]):
            assert accepts(self.contract, *call, site=site) == right
        if right:
            self.sizes[site] = end

    @invariant()
    def heads_and_committers_are_as_told(self) -> None:
        """Nothing else has changed."""
        for site, log in self.logs.items():
            size = self.sizes.get(site, 0)
            assert tuple(self.contract.heads(site)) == (size, log.root(size) if size else bytes(32))
            owner = self.committers.get(site)
            assert self.contract.committers(site) == (self.accounts[owner] if owner is not None else "0x" + "0" * 40)


def test_sites_keep_out_of_each_others_way(reference_log, soak):
    """Whatever landlords and strangers send, in any order, each log holds what its own committer has anchored."""
    Sites.make_log = reference_log
    run_state_machine_as_test(Sites, settings=settings(max_examples=soak(500, 10), stateful_step_count=20))


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
