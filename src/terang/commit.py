"""What one commit gathers: the rows to write, and the epochs and meters that it touched."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from terang.ingest.receipts import EpochState
from terang.kit import Kit, Notify
from terang.store.group import Group
from terang.store.writer import StoreWriter
from terang.values.command import LiveReading
from terang.values.quantity import QUANTITIES
from terang.world import Epoch, Meter, World

__all__ = ["Commit", "Outcome", "states_of"]

_NAMES = tuple(quantity.name for quantity in QUANTITIES)


class Outcome(NamedTuple):
    """What one commit did: the state of every epoch that it touched, the newest reading of every meter, and how many
    records were added, `duplicate` and `refused`.
    """

    epochs: dict[tuple[bytes, bytes], EpochState]
    live: list[LiveReading]
    accepted: int
    duplicate: int
    refused: int


@dataclass(slots=True)
class Commit:
    """One commit on its way. Begun anew for every group; thrown away with everything in it when it fails."""

    writer: StoreWriter
    world: World
    kits: Mapping[str, Kit]
    group: Group = field(default_factory=Group)
    epochs: dict[int, Epoch] = field(default_factory=dict)
    meters: dict[int, Meter] = field(default_factory=dict)
    accepted: int = 0
    duplicate: int = 0
    refused: int = 0

    def take_position(self) -> int:
        """The next place in the log."""
        position = self.world.next_position
        self.world.next_position = position + 1
        self.accepted += 1
        return position

    def notify(self, actions: Sequence[Notify], meter: Meter, cause: str = "") -> None:
        """Keep what rules ask to be told; the same topic for the same `cause` once only."""
        for action in actions:
            self.group.notify(action, meter.id, cause or f"{meter.id}/{action.at_ms}")

    def flush(self) -> None:
        """Write everything, inside the writer's open transaction."""
        self.group.flush(self.writer)
        if self.meters:
            self.writer.put_latest([meter.row() for meter in self.meters.values()])
        if self.epochs:
            self.writer.put_epochs([epoch.row() for epoch in self.epochs.values()])

    def outcome(self) -> Outcome:
        """What it did; only right after the transaction, when memory and store agree."""
        live = [_live(meter) for meter in self.meters.values() if meter.time_ms >= 0]
        return Outcome(states_of(self.epochs.values()), live, self.accepted, self.duplicate, self.refused)


def states_of(epochs: Iterable[Epoch]) -> dict[tuple[bytes, bytes], EpochState]:
    """What a receipt may say of these epochs; only right after a commit, when memory and store agree."""
    return {
        (epoch.device.key_id, epoch.epoch): EpochState(
            epoch.order.stored_end, epoch.order.anchored_end, epoch.order.first_gap()
        )
        for epoch in epochs
    }


def _live(meter: Meter) -> LiveReading:
    values = dict(zip(_NAMES, meter.values, strict=True))
    return LiveReading(meter=meter.id, time_ms=meter.time_ms, position=meter.position, **values)
