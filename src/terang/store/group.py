"""The rows of one commit, gathered in memory so that each statement runs once a group and not once a reading."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from terang.kit import Notify
from terang.store.writer import Row, StoreWriter

__all__ = ["Group", "HourSums"]


@dataclass(slots=True)
class HourSums:
    """Differences to one meter's hour."""

    confirmed_mwh: int = 0
    provisional_mwh: int = 0
    power_sum_mw: int = 0
    power_max_mw: int = 0
    readings: int = 0


@dataclass(slots=True)
class Group:
    """What one transaction will write. `flush` may run in the middle, where a rule has to read what is new."""

    records: list[Row] = field(default_factory=list)
    held: list[Row] = field(default_factory=list)
    readings: list[Row] = field(default_factory=list)
    undated: list[Row] = field(default_factory=list)
    hours: dict[tuple[int, int], HourSums] = field(default_factory=dict)
    steps: list[Row] = field(default_factory=list)
    notices: list[Row] = field(default_factory=list)
    quarantined: list[Row] = field(default_factory=list)
    refusals: dict[str, int] = field(default_factory=dict)

    def hour(self, meter_id: int, hour_ms: int) -> HourSums:
        """The differences that this group makes to one hour of a meter."""
        key = (meter_id, hour_ms)
        sums = self.hours.get(key)
        if sums is None:
            sums = self.hours[key] = HourSums()
        return sums

    def refuse(self, row: Row) -> None:
        """Count a refusal and keep the row for the quarantine; `row` is in the order of that table."""
        reason = row[2]
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
        self.quarantined.append(row)

    def notify(self, action: Notify, meter_id: int | None, cause: str) -> None:
        """Keep what a rule asks to be told; the same topic for the same `cause` once only."""
        row = (action.at_ms, action.topic, f"{action.topic}/{cause}", meter_id, json.dumps(dict(action.values)))
        self.notices.append(row)

    def count(self, reason: str) -> None:
        """Count a refusal whose bytes stand in the log."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def flush(self, writer: StoreWriter) -> None:
        """Write what was gathered, inside the writer's open transaction, and begin anew."""
        _drain(self.records, writer.add_records)
        _drain(self.held, writer.add_held)
        _drain(self.readings, writer.add_readings)
        _drain(self.undated, writer.add_undated)
        _drain(self.steps, writer.add_steps)
        _drain(self.notices, writer.add_notices)
        if self.hours:
            writer.add_hours(
                [
                    (*key, s.confirmed_mwh, s.provisional_mwh, s.power_sum_mw, s.power_max_mw, s.readings)
                    for key, s in self.hours.items()
                ]
            )
            self.hours.clear()
        if self.refusals:
            writer.add_refusals(self.quarantined, self.refusals)
            self.quarantined.clear()
            self.refusals.clear()


def _drain(rows: list[Row], write: Callable[[list[Row]], None]) -> None:
    if rows:
        write(rows)
        rows.clear()
