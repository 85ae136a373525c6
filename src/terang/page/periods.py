"""Hours, days and months of the site's time zone as spans of UTC milliseconds. Pure: `now_ms` is an argument."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

__all__ = [
    "HOUR_MS",
    "Span",
    "before",
    "day_of",
    "day_starts",
    "hour_ceiling",
    "hour_floor",
    "month_of",
    "parse_day",
    "span_at",
]

HOUR_MS = 3_600_000
_DECEMBER = 12
_YEARS = range(2000, 2100)


class Span(NamedTuple):
    """From `from_ms` up to but not including `to_ms`."""

    from_ms: int
    to_ms: int


def hour_floor(ms: int) -> int:
    """The first millisecond of its hour."""
    return ms - ms % HOUR_MS


def hour_ceiling(ms: int) -> int:
    """The first full hour that does not begin before `ms`."""
    return -(-ms // HOUR_MS) * HOUR_MS


def day_of(ms: int, zone: ZoneInfo) -> Span:
    """The local day that holds `ms`."""
    day = _local(ms, zone).date()
    return Span(_midnight(day, zone), _midnight(day + timedelta(days=1), zone))


def month_of(ms: int, zone: ZoneInfo) -> Span:
    """The local month that holds `ms`."""
    first = _local(ms, zone).date().replace(day=1)
    return Span(_midnight(first, zone), _midnight(_next_month(first), zone))


def before(span: Span, kind: str, zone: ZoneInfo) -> Span:
    """The day or month (`kind`) before this one."""
    return (day_of if kind == "day" else month_of)(span.from_ms - 1, zone)


def day_starts(span: Span, zone: ZoneInfo) -> list[int]:
    """The midnights in a span that begins with one."""
    starts, at = [], span.from_ms
    while at < span.to_ms:
        starts.append(at)
        at = day_of(at, zone).to_ms
    return starts


def parse_day(text: str | None, zone: ZoneInfo) -> Span | None:
    """The local day that a text such as 2026-11-20 names, in this century; None if it names none."""
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    return day_of(_midnight(day, zone), zone) if day.year in _YEARS else None


def span_at(kind: str, now_ms: int, zone: ZoneInfo, at: str | None) -> Span:
    """The hour, day or month that a page shows: the one of `at` (2026-11-20) if that is a past day, else of now.

    An hour is the last sixty minutes.
    """
    if kind == "hour":
        return Span(now_ms - HOUR_MS, now_ms)
    asked = parse_day(at, zone)
    moment = min(asked.from_ms, now_ms) if asked else now_ms
    return (day_of if kind == "day" else month_of)(moment, zone)


def _local(ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone)


def _midnight(day: date, zone: ZoneInfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def _next_month(first: date) -> date:
    if first.month == _DECEMBER:
        return first.replace(year=first.year + 1, month=1)
    return first.replace(month=first.month + 1)
