"""What a page says about a room: its state in a word, what it draws now, what it has used. Pure."""

from dataclasses import dataclass

from terang.reader import Latest, Room

__all__ = ["NEVER", "ODD", "ON", "SILENT", "Comparison", "RoomView", "State", "state_of"]

ON = "on"
SILENT = "silent"
NEVER = "never"
ODD = "implausible"
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A word out of ON, SILENT, NEVER and ODD; `minutes` without data, where that is what it says."""

    word: str
    minutes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Energy of a period up to now, and of the one before up to the same moment, in mWh; None where nothing is known.

    `before_to_ms` is where the earlier one was cut: at a full hour, because that is how fine the sums are.
    """

    now_mwh: int | None
    provisional_mwh: int
    before_mwh: int | None
    before_to_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomView:
    """A room as the pages show it. `power_mw` is None unless every meter of the room is heard of now."""

    room: Room
    state: State
    power_mw: int | None
    last_ms: int | None
    latest: dict[int, Latest]
    today: Comparison
    month: Comparison


def state_of(latest: Latest | None, now_ms: int, silent_s: int) -> State:
    """One meter's state. What counts is when its newest reading was taken, or came if its time is not known."""
    if latest is None or (latest.received_ms is None and latest.implausible_ms is None):
        return State(word=NEVER)
    if latest.implausible_ms is not None and latest.implausible_ms > (latest.received_ms or 0):
        return State(word=ODD)
    last_ms = latest.time_ms if latest.time_ms is not None else latest.received_ms
    age_ms = now_ms - (last_ms or 0)
    if age_ms > silent_s * 1000:
        return State(word=SILENT, minutes=age_ms // _MINUTE_MS)
    return State(word=ON)
