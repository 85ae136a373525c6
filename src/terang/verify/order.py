"""The order of one device's envelopes in one epoch: what is contiguous, what is ahead, what is missing.

Pure state, no clock and no store. A sequence is used up by an envelope that verified or by a signed `lost` record.
"""

from typing import NamedTuple

__all__ = ["EpochOrder"]


class _Lost(NamedTuple):
    first: int
    end: int
    position: int


class EpochOrder:
    """Which sequences of an epoch are stored and which are anchored.

    `stored_end`: every sequence below it is stored or declared lost. `anchored_end`: the records of all below it stand
    on the chain. Ranges are kept as ranges: a device may declare four billion envelopes lost in one record.
    """

    __slots__ = ("_ahead", "_lost", "_unanchored", "_unanchored_lost", "anchored_end", "stored_end")

    def __init__(self, *, stored_end: int = 0, anchored_end: int = 0) -> None:
        self.stored_end = stored_end
        self.anchored_end = anchored_end
        self._ahead: set[int] = set()
        self._lost: list[_Lost] = []
        self._unanchored: dict[int, int] = {}
        self._unanchored_lost: list[_Lost] = []

    def is_new(self, sequence: int) -> bool:
        """Whether no envelope can have used up this sequence yet; False asks for a look into the store."""
        return sequence >= self.stored_end and sequence not in self._ahead

    def take(self, sequence: int, position: int) -> None:
        """Use up `sequence` with the record at `position`."""
        if sequence >= self.anchored_end:
            self._unanchored[sequence] = position
        if sequence == self.stored_end:
            self.stored_end += 1
            if self._ahead or self._lost:
                self._settle()
        elif sequence > self.stored_end:
            self._ahead.add(sequence)

    def close(self, first: int, end: int, position: int) -> None:
        """Use up what is still open of [first, end) by the `lost` record at `position`."""
        lost = _Lost(first, end, position)
        if end > max(first, self.anchored_end):
            self._unanchored_lost.append(lost)
        if end > max(first, self.stored_end):
            self._lost.append(lost)
            self._settle()

    def _settle(self) -> None:
        while True:
            if self.stored_end in self._ahead:
                self._ahead.remove(self.stored_end)
                self.stored_end += 1
                continue
            reached = [lost for lost in self._lost if lost.first <= self.stored_end]
            if not reached:
                return
            self._lost = [lost for lost in self._lost if lost.first > self.stored_end]
            self.stored_end = max(self.stored_end, *(lost.end for lost in reached))
            self._ahead = {sequence for sequence in self._ahead if sequence >= self.stored_end}

    def anchor(self, size: int) -> bool:
        """Every record below `size` is anchored now; whether `anchored_end` rose."""
        before = self.anchored_end
        while self.anchored_end < self.stored_end:
            position = self._unanchored.get(self.anchored_end)
            if position is not None:
                if position >= size:
                    break
                del self._unanchored[self.anchored_end]
                self.anchored_end += 1
                continue
            end = self._lost_until(self.anchored_end, size)
            if end is None:
                break
            self.anchored_end = end
        self._unanchored_lost = [lost for lost in self._unanchored_lost if lost.end > self.anchored_end]
        return self.anchored_end > before

    def _lost_until(self, sequence: int, size: int) -> int | None:
        for lost in self._unanchored_lost:
            if lost.first <= sequence < lost.end and lost.position < size:
                # an envelope inside the range that came after all has a position of its own to wait for
                inside = [taken for taken in self._unanchored if sequence < taken < lost.end]
                return min([lost.end, self.stored_end, *inside])
        return None

    def first_gap(self) -> tuple[int, int] | None:
        """The first range [first, end) that has not come although later ones have; None where there is no gap."""
        later = [*self._ahead, *(lost.first for lost in self._lost)]
        if not later:
            return None
        return self.stored_end, min(later)
