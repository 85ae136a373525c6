"""The tree from tiles is the tree from leaves."""

import hashlib
import random

import pytest

from terang.ledger.merkle import consistency_proof, inclusion_path, leaf_nodes, root_hash
from terang.ledger.tiles import TILE_LEVELS, TiledNodes, new_tiles
from terang.values.errors import LedgerError


class Shelf:
    """Leaves in a list, tiles in a dictionary, and a count of how often it was asked."""

    def __init__(self):
        self.items = []
        self.kept = {}
        self.reads = 0

    def grow(self, size):
        for i in range(len(self.items), size):
            self.items.append(hashlib.sha256(i.to_bytes(8, "big")).digest())

    def leaves(self, begin, end):
        self.reads += 1
        return self.items[begin:end]

    def tiles(self, level, begin, end):
        self.reads += 1
        found = []
        for index in range(begin, end):
            if (level, index) not in self.kept:
                break
            found.append(self.kept[level, index])
        return found

    def save(self, tiles):
        self.kept |= {tile[:2]: tile.hash for tile in tiles}


def grown(steps):
    """A shelf that grew in these steps, its tiles kept level by level as the ledger does."""
    shelf = Shelf()
    nodes = TiledNodes(shelf)
    old = 0
    for size in steps:
        shelf.grow(size)
        for tiles in new_tiles(nodes, old, size):
            assert len({tile.level for tile in tiles}) == 1
            shelf.save(tiles)
        old = size
    return shelf, nodes


@pytest.mark.parametrize(
    "steps", [[300], [255, 256, 257], [1, 2, 511, 512, 513], [256], [1000, 1001, 5000], list(range(1, 600, 7))]
)
def test_logs_that_cross_256(steps):
    """Roots, paths and proofs at many sizes are those of the plain tree."""
    shelf, nodes = grown(steps)
    plain = leaf_nodes(shelf.items)
    size = steps[-1]
    for at in {1, 2, 255, 256, 257, 511, 512, 513, size - 1, size}:
        if 0 < at <= size:
            assert root_hash(nodes, at) == root_hash(plain, at)
            for index in {0, at // 2, at - 1}:
                assert inclusion_path(nodes, index, at) == inclusion_path(plain, index, at)
            assert consistency_proof(nodes, at, size) == consistency_proof(plain, at, size)
    assert sorted(shelf.kept) == [(8, index) for index in range(size // 256)]


def test_a_log_that_crosses_65536(soak):
    """Grown in the steps of batches over 65,536 leaves: tiles of both levels are those of the plain tree."""
    end = soak(200_000, 66_200)
    shelf, nodes = grown([*range(900, 65_000, 900), 65_535, 65_536, 65_537, end])
    plain = leaf_nodes(shelf.items)
    assert {level for level, _ in shelf.kept} == {8, 16}
    assert all(plain.node(level, index) == kept for (level, index), kept in shelf.kept.items())
    generator = random.Random(2)
    for at in [65_535, 65_536, 65_537, end, *generator.sample(range(1, end), 20)]:
        assert root_hash(nodes, at) == root_hash(plain, at)
        index = generator.randrange(at)
        assert inclusion_path(nodes, index, at) == inclusion_path(plain, index, at)
        assert consistency_proof(nodes, at, end) == consistency_proof(plain, at, end)
    again = TiledNodes(shelf)
    shelf.reads = 0
    assert inclusion_path(again, 12_345, end) == inclusion_path(plain, 12_345, end)
    print(f"{shelf.reads} reads for a path at {end} leaves")
    assert shelf.reads <= 8


def test_a_log_that_was_begun_again_keeps_the_same_tiles():
    """Tiles kept by nodes that were made anew at every step, as after restarts, are the same."""
    shelf = Shelf()
    old = 0
    for size in (200, 300, 700, 1100):
        shelf.grow(size)
        for tiles in new_tiles(TiledNodes(shelf), old, size):
            shelf.save(tiles)
        old = size
    assert shelf.kept == grown([1100])[0].kept


def test_a_subtree_that_is_not_complete_is_an_error():
    """Beyond the log, or where a tile is missing: LedgerError, never a wrong hash."""
    shelf, nodes = grown([700])
    for level, index in ((0, 700), (3, 87), (8, 2), (9, 1), (16, 0)):
        with pytest.raises(LedgerError):
            nodes.node(level, index)
    del shelf.kept[8, 1]
    with pytest.raises(LedgerError):
        root_hash(TiledNodes(shelf), 700)
    assert TILE_LEVELS == 8
