"""The Merkle tree against RFC 6962 word for word, and proofs against everything that is not one."""

import hashlib
import random

import pytest

from terang.ledger.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_path,
    leaf_nodes,
    node_hash,
    root_from_path,
    root_hash,
    verify_consistency,
    verify_inclusion,
)
from terang.values.errors import ProofError

LEAVES = [hashlib.sha256(bytes((0, i >> 8, i & 255))).digest() for i in range(5001)]


def naive_root(leaves):
    """MTH of RFC 6962 section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index, leaves):
    """PATH of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_proof(old, leaves, *, whole=True):
    """SUBPROOF of RFC 6962 section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if old <= k:
        return [*naive_proof(old, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_proof(old - k, leaves[k:], whole=False), naive_root(leaves[:k])]


def refused(check, *arguments):
    """Whether a check refuses."""
    try:
        check(*arguments)
    except ProofError:
        return True
    return False


def spoiled(path):
    """Every list of hashes that differs from `path` by one flipped, lost, doubled, added or swapped node."""
    for i in range(len(path)):
        yield [*path[:i], bytes((path[i][0] ^ 1,)) + path[i][1:], *path[i + 1 :]]
        yield [*path[:i], path[i][:31] + bytes((path[i][31] ^ 128,)), *path[i + 1 :]]
        yield [*path[:i], *path[i + 1 :]]
        yield [*path[:i], path[i], *path[i:]]
        if i and path[i] != path[i - 1]:
            yield [*path[: i - 1], path[i], path[i - 1], *path[i + 1 :]]
    yield [*path, bytes(32)]
    yield [bytes(32), *path]


def test_the_test_vectors_of_the_rfcs_reference_hold():
    """The roots of 0 to 8 leaves that the Certificate Transparency reference prints."""
    inputs = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        bytes(range(0x50, 0x58)),
        bytes(range(0x60, 0x70)),
    ]
    leaves = [hashlib.sha256(b"\x00" + item).digest() for item in inputs]
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert root_hash(leaf_nodes(leaves), 1).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root_hash(leaf_nodes(leaves), 8).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@pytest.mark.parametrize("size", range(71))
def test_all_roots_paths_and_proofs_of_small_trees(size):
    """For every size to 70, every index and every earlier size: equal to the naive reference, and they verify."""
    leaves = LEAVES[:size]
    nodes = leaf_nodes(leaves)
    root = naive_root(leaves)
    assert root_hash(nodes, size) == root
    for index in range(size):
        path = inclusion_path(nodes, index, size)
        assert path == naive_path(index, leaves)
        verify_inclusion(leaves[index], index, size, path, root)
    for old in range(size + 1):
        proof = consistency_proof(nodes, old, size)
        assert proof == ([] if old == 0 else naive_proof(old, leaves))
        verify_consistency(old, size, naive_root(leaves[:old]), root, proof)


def test_random_trees_to_5000(soak):
    """The same for random sizes, indices and earlier sizes."""
    generator = random.Random(1)
    for _ in range(soak(300, 12)):
        size = generator.randrange(71, 5001)
        leaves, nodes = LEAVES[:size], leaf_nodes(LEAVES)
        root = naive_root(leaves)
        assert root_hash(nodes, size) == root
        for index in generator.sample(range(size), 3):
            path = inclusion_path(nodes, index, size)
            assert path == naive_path(index, leaves)
            verify_inclusion(leaves[index], index, size, path, root)
        for old in generator.sample(range(1, size + 1), 3):
            proof = consistency_proof(nodes, old, size)
            assert proof == naive_proof(old, leaves)
            verify_consistency(old, size, naive_root(leaves[:old]), root, proof)


@pytest.mark.parametrize("size", [*range(1, 24), 31, 32, 33, 64, 65])
def test_a_spoiled_inclusion_path_is_refused(size):
    """Any single node changed, lost, doubled, added or swapped; another leaf, index, size or root."""
    leaves = LEAVES[:size]
    nodes, root = leaf_nodes(leaves), naive_root(leaves)
    for index in range(size):
        path = inclusion_path(nodes, index, size)
        for wrong in spoiled(path):
            assert refused(verify_inclusion, leaves[index], index, size, wrong, root)
        assert refused(verify_inclusion, bytes(32), index, size, path, root)
        assert refused(verify_inclusion, leaves[index], index, size, path, bytes(32))
        for other in range(-1, size + 2):
            if other != index:
                assert refused(verify_inclusion, leaves[index], other, size, path, root)


@pytest.mark.parametrize("size", [*range(1, 24), 31, 32, 33, 64, 65])
def test_a_spoiled_consistency_proof_is_refused(size):
    """Any single node changed, lost, doubled, added or swapped; other roots; a log that shrank."""
    leaves = LEAVES[:size]
    nodes, root = leaf_nodes(leaves), naive_root(leaves)
    for old in range(1, size + 1):
        proof, old_root = consistency_proof(nodes, old, size), naive_root(leaves[:old])
        for wrong in spoiled(proof):
            assert refused(verify_consistency, old, size, old_root, root, wrong), (old, size)
        assert refused(verify_consistency, old, size, bytes(32), root, proof)
        assert refused(verify_consistency, old, size, old_root, bytes(32), proof)
        if old < size:
            assert refused(verify_consistency, size, old, root, old_root, proof)
            assert refused(verify_consistency, old, size, root, old_root, proof)


def test_an_inner_node_is_no_leaf():
    """A node of the tree cannot be passed off as a leaf of a smaller one: sizes are signed, and the path ends early."""
    nodes, root = leaf_nodes(LEAVES[:8]), naive_root(LEAVES[:8])
    inner = node_hash(LEAVES[0], LEAVES[1])
    path = inclusion_path(nodes, 0, 8)
    assert root_from_path(inner, 0, 4, path[1:]) == root  # that is why leaves and nodes are hashed apart
    assert refused(verify_inclusion, inner, 0, 8, path[1:], root)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0), (7, 3)])
def test_what_is_not_in_the_tree_has_no_path(index, size):
    """An index outside the tree raises ProofError."""
    with pytest.raises(ProofError):
        inclusion_path(leaf_nodes(LEAVES), index, size)


def test_an_empty_log_grows_to_anything_without_proof():
    """From 0 records only the empty proof and the empty root are right."""
    root = naive_root(LEAVES[:5])
    verify_consistency(0, 5, EMPTY_ROOT, root, [])
    verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    for wrong in ((0, 5, bytes(32), root, []), (0, 5, EMPTY_ROOT, root, [bytes(32)]), (0, 0, EMPTY_ROOT, root, [])):
        assert refused(verify_consistency, *wrong)
