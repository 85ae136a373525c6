"""The meter kit: a PZEM-004T on a Modbus bus measures one room's energy.

README.md says what it measures and how well; the edge reads through `device`, the platform folds through KIT.
"""

from terang.kit import Action, Fold, Kit, Notify, State, Step, Stretch
from terang.kits.meter import model
from terang.values import quantity

__all__ = ["KIT", "NOTIFY_TOPICS"]

NOTIFY_TOPICS = {reason: f"meter_{reason}" for reason in model.REASONS}
"""Reason of a step that waits for a person -> topic of the message that tells the owner."""


def _fold(state: State | None, stretch: Stretch) -> Fold:
    columns = stretch.columns
    counters = columns.get(quantity.ENERGY_MWH)
    if counters is None:
        return Fold(state or (), (), (), False)
    state, found = model.advance(
        state or (), stretch.times_ms, counters, columns.get(quantity.VOLTAGE_MV, ()), model.POWER_MW_MAX
    )
    if not found:
        return Fold(state, (), (), len(state) == model.REGULAR_SIZE)
    # a regular state has four numbers; a reading that is left out makes it irregular until two neighbours agree
    steps = tuple([Step._make(step) for step in found])
    return Fold(state, steps, _tell(steps), len(state) == model.REGULAR_SIZE)


def _tell(steps: tuple[Step, ...]) -> tuple[Action, ...]:
    return tuple(
        [
            Notify(NOTIFY_TOPICS[step.reason], step.to_ms, (("provisional_mwh", str(step.provisional_mwh)),))
            for step in steps
            if step.reason
        ]
    )


def _resume(stretch: Stretch) -> State:
    return _fold(None, stretch).state


KIT = Kit(
    name="meter",
    quantities=tuple(item.code for item in quantity.QUANTITIES),
    fold=_fold,
    resume=_resume,
)
