"""The meter's cards on the page of its room: now, its history, its latest readings."""

from collections.abc import Mapping

from terang.kits.meter import _charts as charts
from terang.page.cards import Card, KitPages, Visit
from terang.page.readings import readings_before
from terang.reader import MeterRef
from terang.values.fingerprint import device_code

__all__ = ["PAGES"]

_KIT = "meter"
_ROWS = 12


def _meter_of(visit: Visit) -> MeterRef | None:
    return visit.meter if visit.meter is not None and visit.meter.kit == _KIT else None


def _now(visit: Visit) -> Mapping[str, object] | None:
    meter = _meter_of(visit)
    if meter is None or meter.to_ms is not None:
        return None
    return {"view": visit.view, "meter": meter, "latest": visit.view.latest.get(meter.id)}


def _binding(visit: Visit) -> Mapping[str, object] | None:
    """The code on the meter's box: to be compared by who lives there, seen by the owner."""
    meter = _meter_of(visit)
    if meter is None or meter.to_ms is not None or visit.room.tenancy is None:
        return None
    return {"meter": meter, "code": device_code(bytes.fromhex(meter.device))}


def _history(visit: Visit) -> Mapping[str, object] | None:
    meter = _meter_of(visit)
    if meter is None:
        return None
    period = visit.query.get("period", "day")
    chart = charts.chart_of(
        visit.source,
        visit.room,
        meter,
        period=period if period in charts.PERIODS else "day",
        at=visit.query.get("at"),
        since_ms=visit.since_ms,
        hours_since_ms=visit.hours_since_ms,
        now_ms=visit.now_ms,
        texts=visit.texts,
        numbers=visit.numbers,
    )
    return {"chart": chart, "periods": charts.PERIODS}


def _readings(visit: Visit) -> Mapping[str, object] | None:
    meter = _meter_of(visit)
    if meter is None:
        return None
    before = visit.number("before")
    rows, older = readings_before(visit.source, meter, before, _ROWS, visit.since_ms)
    return {"rows": rows, "older": older, "before": before}


PAGES = KitPages(
    kit=_KIT,
    package="terang.kits.meter",
    cards=(
        Card(name="now", template="now.html", place=10, fill=_now),
        Card(name="history", template="history.html", place=20, fill=_history),
        Card(name="readings", template="readings.html", place=90, wide=True, fill=_readings),
        Card(name="binding", template="binding.html", place=95, wide=True, fill=_binding),
    ),
)
