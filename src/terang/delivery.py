"""Was anything lost? What simulated meters have served, against what is stored, reading by reading."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Delivery", "compare"]


class Delivery(NamedTuple):
    """`served` readings of which `stored` are in the store exactly once; `lost` are not there, `invented` were stored
    and never served, or more often than they were.
    """

    served: int
    stored: int
    lost: int
    invented: int

    def __add__(self, other: object) -> "Delivery":
        """The sum over several meters."""
        if not isinstance(other, Delivery):
            return NotImplemented
        return Delivery(*(a + b for a, b in zip(self, other, strict=True)))


def compare(served: Sequence[tuple[int, ...]], stored: Iterable[tuple[int, ...]]) -> Delivery:
    """Compare one meter's answers with its stored readings, both in the order of their time.

    A stored reading counts for the earliest answer with the same values that is not yet counted and comes after the
    one before: so a reading stored twice, or one that was made up, has no answer left to count for.
    """
    at = matched = invented = 0
    for values in stored:
        try:
            found = served.index(values, at)
        except ValueError:
            invented += 1
            continue
        at = found + 1
        matched += 1
    return Delivery(len(served), matched, len(served) - matched, invented)
