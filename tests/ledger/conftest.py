"""What tests of the ledger and its chain share: a house with a chain and a contract, and a reference Merkle log."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from eth_keys.datatypes import PrivateKey

from terang.ledger.chain import Block, Receipt
from terang.ledger.committer import Committer
from terang.ledger.contract import AnchorCall
from terang.ledger.embedded import EmbeddedChain
from terang.ledger.genesis import EPOCH_BLOCKS, Genesis
from terang.values.clock import FakeClock

SIGNER = PrivateKey(b"\x01" * 32)
CHAIN_ID = 20_261
BEGAN_S = 1_763_600_000


class ReferenceLog:
    """RFC 6962, word for word and slow: the oracle. Leaves are made from their index and a `salt`."""

    def __init__(self, salt: bytes = b"") -> None:
        self._salt = salt
        self._roots: dict[tuple[int, int], bytes] = {}

    def root(self, size: int) -> bytes:
        """MTH of the first `size` leaves (2.1)."""
        return self._hash(0, size)

    def _hash(self, begin: int, end: int) -> bytes:
        if (begin, end) not in self._roots:
            if end - begin == 1:
                value = hashlib.sha256(b"\x00" + self._salt + begin.to_bytes(8, "big")).digest()
            else:
                middle = begin + largest_power_of_two_below(end - begin)
                value = node(self._hash(begin, middle), self._hash(middle, end))
            self._roots[begin, end] = value
        return self._roots[begin, end]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """PROOF(old, D[new]) (2.1.2); empty for an empty old log."""
        return self._subproof(old, 0, new, known=True) if 0 < old < new else []

    def _subproof(self, old: int, begin: int, end: int, *, known: bool) -> list[bytes]:
        size = end - begin
        if old == size:
            return [] if known else [self._hash(begin, end)]
        k = largest_power_of_two_below(size)
        if old <= k:
            return [*self._subproof(old, begin, begin + k, known=known), self._hash(begin + k, end)]
        return [*self._subproof(old - k, begin + k, end, known=False), self._hash(begin, begin + k)]


def largest_power_of_two_below(n: int) -> int:
    """The largest power of two smaller than n (n > 1)."""
    return 1 << ((n - 1).bit_length() - 1)


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    """Whether the proof shows that the log of size `new` extends that of size `old`: by undoing SUBPROOF from its end.

    Not the loop of RFC 9162 that the contract has: two ways to one answer.
    """
    if old == 0:
        return not proof
    left = list(proof)

    def undo(m: int, n: int, *, known: bool) -> tuple[bytes, bytes]:
        if m == n:
            value = old_root if known else left.pop()
            return value, value
        k = largest_power_of_two_below(n)
        last = left.pop()
        if m <= k:
            older, newer = undo(m, k, known=known)
            return older, node(newer, last)
        older, newer = undo(m - k, n - k, known=False)
        return node(last, older), node(last, newer)

    try:
        older, newer = undo(old, new, known=True)
    except IndexError:
        return False
    return not left and older == old_root and newer == new_root


@dataclass
class House:
    """A site with its own chain: `chain` at `clock`'s time, the contract deployed and the site registered on demand."""

    directory: Path
    clock: FakeClock
    chain: EmbeddedChain
    committer: Committer = field(default_factory=lambda: Committer(PrivateKey(b"\x02" * 32)))
    site: bytes = b"\x07" * 32
    contract: bytes = b""
    log: ReferenceLog = field(default_factory=ReferenceLog)
    size: int = 0

    def fields(self, nonce: int | None = None) -> dict[str, int]:
        """What signing needs to know of the chain now."""
        due = self.chain.nonce(self.committer.address) if nonce is None else nonce
        return {"chain_id": self.chain.chain_id, "nonce": due, "base_fee": self.chain.base_fee}

    def seal(self) -> Block:
        """A second later, the next block."""
        self.clock.advance(1_000)
        block = self.chain.seal()
        assert block is not None, self.chain.status()
        return block

    def found(self, raw: bytes) -> Receipt:
        """Submit, seal, and the receipt."""
        tx_hash = self.chain.submit(raw)
        self.seal()
        receipt = self.chain.receipt(tx_hash)
        assert receipt is not None
        return receipt

    def settle(self) -> "House":
        """Deploy the contract and register the site: two blocks."""
        deployed = self.found(self.committer.deploy(**self.fields()))
        assert deployed.succeeded
        assert deployed.contract_address is not None
        self.contract = deployed.contract_address
        assert self.found(self.committer.register(self.site, contract=self.contract, **self.fields())).succeeded
        return self

    def next_call(self, grow: int = 6, data: bytes = b"x" * 100) -> AnchorCall:
        """The next batch of `grow` records; the house counts it as sent."""
        old, self.size = self.size, self.size + grow
        return AnchorCall(
            site=self.site,
            old_size=old,
            new_size=self.size,
            root=self.log.root(self.size),
            proof=tuple(self.log.consistency(old, self.size)),
            data=data,
        )

    def signed(self, call: AnchorCall) -> bytes:
        """The call as a transaction with the next nonce."""
        return self.committer.anchor(call, contract=self.contract, **self.fields())


@pytest.fixture
def make_house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """`make_house(name="a", epoch=..., kept_heads=...)` opens a chain, begun where there is none; closed at the end."""
    opened: list[EmbeddedChain] = []

    def make(
        name: str = "a", *, epoch: int = EPOCH_BLOCKS, kept_heads: int = 128, key: PrivateKey | None = SIGNER
    ) -> House:
        clock = FakeClock(BEGAN_S * 1000 + 250)
        committer = Committer(PrivateKey(b"\x02" * 32))
        genesis = Genesis.for_site(
            chain_id=CHAIN_ID,
            timestamp_s=BEGAN_S,
            signer=SIGNER.public_key.to_canonical_address(),
            committer=committer.address,
            epoch=epoch,
        )
        chain = EmbeddedChain.open(
            tmp_path / name, clock=clock, genesis=genesis, signer_key=key, kept_heads=kept_heads
        )
        opened.append(chain)
        return House(directory=tmp_path / name, clock=clock, chain=chain)

    yield make
    for chain in opened:
        chain.close()


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    """A house whose contract stands and whose site is registered."""
    return make_house().settle()


@pytest.fixture(scope="session")
def reference_log() -> type[ReferenceLog]:
    """The oracle's class."""
    return ReferenceLog


@pytest.fixture(scope="session")
def consistency_oracle() -> Callable[[int, int, bytes, bytes, list[bytes]], bool]:
    """`is_consistent(old, new, old_root, new_root, proof)`."""
    return is_consistent
