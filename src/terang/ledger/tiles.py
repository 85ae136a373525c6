"""The tree of a large log from few reads: complete subtrees of 256, 65,536, ... leaves are kept, the rest computed."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Protocol

from terang.ledger.drafts import Tile
from terang.ledger.merkle import node_hash
from terang.values.errors import LedgerError

__all__ = ["TILE_LEVELS", "LeafSource", "TiledNodes", "new_tiles"]

TILE_LEVELS = 8
_WIDTH = 1 << TILE_LEVELS
_CACHED_BLOCKS = 64


class LeafSource(Protocol):
    """Where leaf hashes and kept subtrees come from."""

    def leaves(self, begin: int, end: int) -> list[bytes]:
        """The leaf hashes of records [begin, end); fewer where the log is shorter."""
        ...

    def tiles(self, level: int, begin: int, end: int) -> list[bytes]:
        """The kept subtree hashes [begin, end) of a level that is a multiple of 8; fewer where there are fewer."""
        ...


class TiledNodes:
    """`merkle.Nodes` over a log in the store."""

    def __init__(self, source: LeafSource) -> None:
        self._source = source
        self._blocks: OrderedDict[tuple[int, int], list[list[bytes]]] = OrderedDict()

    def node(self, level: int, index: int) -> bytes:
        """The hash over leaves [index << level, (index + 1) << level)."""
        base = level - level % TILE_LEVELS
        rise = level - base
        block = self._block(base, (index << rise) // _WIDTH)
        row = block[rise]
        at = index % (_WIDTH >> rise)
        if at >= len(row):
            raise LedgerError(f"the log has no complete subtree {index} at level {level}")
        return row[at]

    def whole(self, level: int, number: int) -> bytes:
        """The same for a level that is a multiple of 8, computed from the one eight below."""
        row = self._block(level - TILE_LEVELS, number)[TILE_LEVELS]
        if not row:
            raise LedgerError(f"the log has no complete subtree {number} at level {level}")
        return row[0]

    def _block(self, base: int, number: int) -> list[list[bytes]]:
        """Up to 256 nodes of level `base` with all complete nodes above them; full blocks never change."""
        known = self._blocks.get((base, number))
        if known is not None:
            self._blocks.move_to_end((base, number))
            return known
        begin = number * _WIDTH
        lowest = (
            self._source.leaves(begin, begin + _WIDTH) if base == 0 else self._source.tiles(base, begin, begin + _WIDTH)
        )
        block = [lowest]
        while len(block[-1]) > 1 and len(block) <= TILE_LEVELS:
            row = block[-1]
            block.append([node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])
        block += [[] for _ in range(TILE_LEVELS + 1 - len(block))]
        if len(lowest) == _WIDTH:
            self._blocks[base, number] = block
            if len(self._blocks) > _CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        return block


def new_tiles(nodes: TiledNodes, old_size: int, new_size: int) -> Iterator[tuple[Tile, ...]]:
    """The subtrees of 256 leaves, of 256 such subtrees, and so on, that became complete between two sizes, by level.

    The caller keeps each level before it asks for the next, because a level is computed from the one below.
    """
    level = TILE_LEVELS
    while new_size >> level:
        numbers = range(old_size >> level, new_size >> level)
        if numbers:
            yield tuple([Tile(level, number, nodes.whole(level, number)) for number in numbers])
        level += TILE_LEVELS
