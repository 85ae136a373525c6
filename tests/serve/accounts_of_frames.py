"""What became of every frame that a meter served: the oracle's list against the store's and the log's, one by one."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from terang.kits.meter.simulator import Served
from terang.serve.pages import Pages
from terang.values import envelope
from terang.values.quantity import QUANTITIES
from terang.values.reading import READINGS, Lost, Readings, decode_body, read_readings

__all__ = ["Frame", "Loss", "in_log", "in_store", "losses", "unseen"]

_CODES = tuple(quantity.code for quantity in QUANTITIES)
_EARLY_MS, _LATE_MS = 50, 5_000  # the device dates a frame when it has come, the meter when it sends


class Frame(NamedTuple):
    """One reading as the platform has it: its time, its values, and the record that carries it."""

    time_ms: int
    values: tuple[int, ...]
    position: int


class Loss(NamedTuple):
    """One lost record about one meter."""

    reason: str
    reads: int


def in_store(pages: Pages) -> dict[int, list[Frame]]:
    """Address -> the readings that pages read, by time."""
    found: dict[int, list[Frame]] = defaultdict(list)
    for address, first_ms, position, raw in pages.rows(
        "SELECT m.address, g.first_ms, g.position, g.body FROM reading g JOIN meter m ON m.id = g.meter_id"
        " ORDER BY m.address, g.first_ms, g.position"
    ):
        found[address] += _frames(first_ms, position, read_readings(raw, 0)[0])
    return found


def in_log(pages: Pages) -> dict[int, list[Frame]]:
    """Address -> the readings in the signed bytes of the log's records, by time."""
    found: dict[int, list[Frame]] = defaultdict(list)
    for (position,) in pages.rows("SELECT position FROM record WHERE kind=1"):
        fields, at = envelope.split_payload(payload := envelope.split(pages.data_of(position))[0])
        if fields[0] == READINGS:
            assert fields[8] is not None, f"record {position} is undated"
            found[fields[5]] += _frames(fields[8], position, decode_body(READINGS, payload, at)[0])
    return {address: sorted(frames) for address, frames in found.items()}


def losses(pages: Pages) -> dict[int, list[Loss]]:
    """Address -> what its device declared lost, from the table that pages read; as signed, or this fails."""
    found: dict[int, list[Loss]] = defaultdict(list)
    for address, position, reads, reason in pages.rows(
        "SELECT m.address, l.position, l.reads, l.reason FROM lost l JOIN meter m ON m.id = l.meter_id"
    ):
        fields, at = envelope.split_payload(payload := envelope.split(pages.data_of(position))[0])
        body = decode_body(fields[0], payload, at)[0]
        assert isinstance(body, Lost)
        assert (fields[5], body.reads, body.reason) == (address, reads, reason)
        found[address].append(Loss(reason, reads))
    return found


def unseen(served: Sequence[Served], frames: Iterable[Frame]) -> list[Served]:
    """The frames that are not among `frames`; fails for a reading that nobody served, that is there twice, or that
    stands in another order than it was served in."""
    by_values: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, item in enumerate(served):
        by_values[item.values].append(place)
    last = -1
    taken: set[int] = set()
    for frame in frames:
        places = by_values.get(frame.values, [])
        times = [served[place].time_ms for place in places]
        at = bisect_right(times, frame.time_ms + _EARLY_MS) - 1
        assert at >= 0, f"no meter served {frame}"
        place = places[at]
        assert frame.time_ms - served[place].time_ms < _LATE_MS, f"{frame} was served {served[place]}, long before"
        assert place not in taken, f"{frame} is there twice"
        assert place > last, f"{frame} stands out of order"
        taken.add(place)
        last = place
    return [item for place, item in enumerate(served) if place not in taken]


def _frames(first_ms: int, position: int, body: Readings) -> list[Frame]:
    values = zip(*(body.columns[code] for code in _CODES), strict=True)
    return [Frame(first_ms + offset, row, position) for offset, row in zip(body.offsets_ms, values, strict=True)]
