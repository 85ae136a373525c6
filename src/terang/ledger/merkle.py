"""The Merkle tree of RFC 6962 section 2.1: roots, inclusion paths, consistency proofs, and how a stranger checks them.

Pure. Leaves come hashed (`values.record.leaf_hash`); an inner node is SHA-256(0x01, left, right). Trees of a million
leaves are not held in memory: a `Nodes` gives the hashes of complete subtrees, from tiles where there are some.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

from terang.values.errors import ProofError

__all__ = [
    "EMPTY_ROOT",
    "Nodes",
    "consistency_proof",
    "inclusion_path",
    "leaf_nodes",
    "node_hash",
    "root_from_path",
    "root_hash",
    "verify_consistency",
    "verify_inclusion",
]

EMPTY_ROOT = hashlib.sha256(b"").digest()


class Nodes(Protocol):
    """Hashes of complete subtrees."""

    def node(self, level: int, index: int) -> bytes:
        """The hash over leaves [index << level, (index + 1) << level); all of them exist."""
        ...


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaf_nodes(leaves: Sequence[bytes]) -> Nodes:
    """Nodes over leaf hashes held in memory; for small trees and tests."""
    return _Leaves(leaves)


class _Leaves:
    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._leaves = leaves
        self._rows: list[list[bytes]] = []  # of each level from 1 on, as far as it was asked for

    def node(self, level: int, index: int) -> bytes:
        if level == 0:
            return self._leaves[index]
        while len(self._rows) < level:
            self._rows.append([])
        row = self._rows[level - 1]
        for i in range(len(row), index + 1):
            row.append(node_hash(self.node(level - 1, 2 * i), self.node(level - 1, 2 * i + 1)))
        return row[index]


def root_hash(nodes: Nodes, size: int) -> bytes:
    """The root of the first `size` leaves."""
    return EMPTY_ROOT if size == 0 else _range_hash(nodes, 0, size)


def inclusion_path(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root of the first `size` leaves, lowest first."""
    if not 0 <= index < size:
        raise ProofError(f"record {index} is not among the first {size}")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(_range_hash(nodes, middle, end))
            end = middle
        else:
            path.append(_range_hash(nodes, begin, middle))
            begin = middle
    return path[::-1]


def consistency_proof(nodes: Nodes, old_size: int, new_size: int) -> list[bytes]:
    """The hashes that show the tree of `new_size` leaves to extend that of `old_size` (RFC 6962 section 2.1.2)."""
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a log of {old_size} records cannot have grown to {new_size}")
    if old_size in (0, new_size):
        return []
    proof: list[bytes] = []
    begin, end, whole = 0, new_size, True
    while end != old_size or not whole:
        if end == old_size:
            proof.append(_range_hash(nodes, begin, end))
            break
        middle = begin + _split(end - begin)
        if old_size <= middle:
            proof.append(_range_hash(nodes, middle, end))
            end = middle
        else:
            proof.append(_range_hash(nodes, begin, middle))
            begin, whole = middle, False
    return proof[::-1]


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root to which `path` leads from `leaf` (RFC 9162 section 2.1.3.2); ProofError where it cannot lead to one."""
    if not 0 <= index < size:
        raise ProofError(f"record {index} is not among the first {size}")
    node, last, result = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofError("the inclusion path is too long")
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofError("the inclusion path is too short")
    return result


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """ProofError unless `leaf` stands at `index` of the tree with this root."""
    if root_from_path(leaf, index, size, path) != root:
        raise ProofError("the inclusion path does not lead to the root")


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """ProofError unless the tree of `new_root` extends that of `old_root` (RFC 9162 section 2.1.4.2)."""
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a log of {old_size} records cannot have grown to {new_size}")
    if old_size in (0, new_size):
        expected = old_root if old_size else EMPTY_ROOT
        if proof or old_root != expected or (old_size == new_size and old_root != new_root):
            raise ProofError("the two roots differ although nothing was added, or the proof is not empty")
        return
    hashes = list(proof)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise ProofError("the consistency proof is empty")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_result = new_result = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if node & 1 or node == last:
            old_result = node_hash(sibling, old_result)
            new_result = node_hash(sibling, new_result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new_result = node_hash(new_result, sibling)
        node, last = node >> 1, last >> 1
    if last or old_result != old_root or new_result != new_root:
        raise ProofError("the new log does not extend the old one")


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def _range_hash(nodes: Nodes, begin: int, end: int) -> bytes:
    """The hash over leaves [begin, end) of a range that RFC 6962's splitting makes: its left parts are complete."""
    parts: list[bytes] = []
    while begin < end:
        level = min(_alignment(begin, end), (end - begin).bit_length() - 1)
        parts.append(nodes.node(level, begin >> level))
        begin += 1 << level
    result = parts[-1]
    for part in reversed(parts[:-1]):
        result = node_hash(part, result)
    return result


def _alignment(begin: int, end: int) -> int:
    return (begin & -begin).bit_length() - 1 if begin else end.bit_length()


