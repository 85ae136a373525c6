"""All that a kit may know of Terang, and all that Terang knows of a kit.

A kit is a plug-in for one kind of device or service. It comes in through the entry point group `terang.kits`, Terang's
own kits too, as one frozen `Kit` object; nothing registers on import.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Action", "Fold", "Kit", "Notify", "State", "Step", "Stretch"]


State = tuple[int, ...]
"""What a kit remembers of one meter between readings: whole numbers only, so that it is stored and compared exactly."""


class Stretch(NamedTuple):
    """Dated readings of one meter in the order of their time, as columns.

    `times_ms`: UTC, never falling. `columns`: quantity code -> one integer a reading, in the quantity's unit.
    """

    times_ms: tuple[int, ...]
    columns: Mapping[int, tuple[int, ...]]


class Step(NamedTuple):
    """Energy used between two moments of a meter's register.

    `confirmed_mwh` is certain. `provisional_mwh` is what a person has to confirm, with the `reason` in one word; both
    are never negative. Without a reason nothing is provisional.
    """

    from_ms: int
    to_ms: int
    confirmed_mwh: int
    provisional_mwh: int
    reason: str


class Notify(NamedTuple):
    """Ask that somebody be told: `topic` names the text in the page's language, `values` fill it in."""

    topic: str
    at_ms: int
    values: tuple[tuple[str, str], ...]


Action = Notify
"""What a rule may ask for: a closed union that grows with the kits that need more."""


class Fold(NamedTuple):
    """What came of folding a stretch into a state.

    `regular` says that the state after the last reading depends on the last two readings alone, so that folding may be
    taken up again there (`Kit.resume`) when a late reading lands in the past.
    """

    state: State
    steps: tuple[Step, ...]
    actions: tuple[Action, ...]
    regular: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """One kind of device or service.

    `name` is also its folder's. `quantities` are the codes that its readings must have, and may have. `fold` is pure:
    the state before (None at the very first) and a stretch in, a Fold out. `resume` makes the state that a regular
    fold has just after the second of two adjacent readings.
    """

    name: str
    quantities: tuple[int, ...]
    fold: Callable[[State | None, Stretch], Fold]
    resume: Callable[[Stretch], State]
