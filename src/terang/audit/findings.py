"""What an audit found, and how far it is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Finding", "Findings", "Progress"]

_KEPT = 1000


class Finding(NamedTuple):
    """One thing that differs: the `table` (or log, chain, key), `what` it is about, and how it differs."""

    table: str
    what: str
    detail: str


Progress = Callable[[str, int, int], None]
"""Called with what is being checked, how many are done and how many there are."""


@dataclass(slots=True)
class Findings:
    """All findings of one audit; the first thousand are kept, all are counted."""

    kept: list[Finding] = field(default_factory=list)
    count: int = 0
    set_aside: int = 0  # records that were signed and yet count for nothing, rightly: implausible or forked

    def add(self, table: str, what: str, detail: str) -> None:
        """Note one."""
        self.count += 1
        if len(self.kept) < _KEPT:
            self.kept.append(Finding(table, what, detail))
