"""Takes away state that none of the last heads can reach, in steps small enough to fit between two blocks.

A cycle marks what the heads up to now reach, then sweeps what was written until now and is not marked. Blocks that come
meanwhile need no care: whatever they reach was reachable from the head before them or is newly written, and what is
newly written is younger than the cycle.
"""

from collections.abc import Iterator
from typing import Any, Final

import rlp
from eth_utils.crypto import keccak

from terang.ledger.chain_store import ChainStore
from terang.values.errors import ChainCorrupt

__all__ = ["KEPT_HEADS", "StatePruner"]

KEPT_HEADS: Final = 128
_SWEEP_ROWS: Final = 256
_BLANK_ROOT: Final = keccak(rlp.encode(b""))
_EMPTY_CODE: Final = keccak(b"")
_HASH_BYTES: Final = 32
_ACCOUNT_FIELDS: Final = 4
_BRANCH_ITEMS: Final = 17
_LEAF_FLAG: Final = 0x20


class StatePruner:
    """Prunes one chain's state; `kept_heads` last blocks stay fully readable, and at most twice as many do."""

    def __init__(self, store: ChainStore, *, kept_heads: int = KEPT_HEADS) -> None:
        self._store = store
        self._kept_heads = kept_heads
        self._work: Iterator[int] | None = None
        self._next_cycle_at = 0

    def step(self, budget: int) -> bool:
        """Do about `budget` node visits of work; False when there is nothing to do for now."""
        if self._work is None:
            head = self._store.head()
            if head is None or head.number < max(self._next_cycle_at, self._kept_heads):
                return False
            self._next_cycle_at = head.number + self._kept_heads
            self._work = self._cycle(head.number)
        spent = 0
        for cost in self._work:
            spent += cost
            if spent >= budget:
                return True
        self._work = None
        return True

    def _cycle(self, head: int) -> Iterator[int]:
        """One mark and sweep as of block `head`, yielding the cost of each bit of work."""
        marked: set[bytes] = set()
        for number in range(head - self._kept_heads + 1, head + 1):
            header = self._store.header(number)
            if header is None:
                raise ChainCorrupt(f"block {number} is missing below the head; restore the chain from a copy")
            yield from self._mark(header.state_root, marked)
        after = b""
        while batch := self._store.old_state(born_until=head, after=after, limit=_SWEEP_ROWS):
            after = batch[-1]
            doomed = [key for key in batch if key not in marked]
            if doomed:
                self._store.forget_state(doomed, born_until=head)
            yield len(batch)

    def _mark(self, root: bytes, marked: set[bytes]) -> Iterator[int]:
        """Mark every node and code that the account trie of this root reaches."""
        stack: list[tuple[bytes, bool]] = [(root, True)]
        while stack:
            key, of_accounts = stack.pop()
            if key in marked or key == _BLANK_ROOT:
                continue
            raw = self._store.state(key)
            if raw is None:
                raise ChainCorrupt(f"state node 0x{key.hex()} is missing; restore the chain from a copy")
            marked.add(key)
            for value in _values(rlp.decode(raw), stack, of_accounts=of_accounts):
                _follow_account(value, stack, marked)
            yield 1


def _values(node: Any, stack: list[tuple[bytes, bool]], *, of_accounts: bool) -> Iterator[bytes]:
    """Push the node's children; yield the accounts in it (nothing in a storage trie)."""
    if len(node) == _BRANCH_ITEMS:
        for child in node[:16]:
            yield from _child(child, stack, of_accounts=of_accounts)
    elif node[0][0] & _LEAF_FLAG:
        if of_accounts:
            yield node[1]
    else:
        yield from _child(node[1], stack, of_accounts=of_accounts)


def _child(child: Any, stack: list[tuple[bytes, bool]], *, of_accounts: bool) -> Iterator[bytes]:
    """A child is a hash, nothing, or (below 32 bytes) the node itself."""
    if isinstance(child, list):
        yield from _values(child, stack, of_accounts=of_accounts)
    elif len(child) == _HASH_BYTES:
        stack.append((child, of_accounts))


def _follow_account(value: bytes, stack: list[tuple[bytes, bool]], marked: set[bytes]) -> None:
    fields = rlp.decode(value)
    if len(fields) != _ACCOUNT_FIELDS:
        raise ChainCorrupt("an account in the state is not of four fields")
    stack.append((fields[2], False))
    if fields[3] != _EMPTY_CODE:
        # Code is a leaf of the graph: marked here, never decoded as a node.
        marked.add(fields[3])
