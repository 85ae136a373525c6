"""Readings as CSV: a header of quantity names with their units, one line a reading, newest first."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from terang.page import periods
from terang.page.numbers import Numbers
from terang.page.periods import Span
from terang.reader import MeterRef, Source

__all__ = ["COLUMNS", "asked_span", "csv_lines"]

COLUMNS = (
    *("time", "time_ms", "voltage_mv", "current_ma", "power_mw", "energy_mwh", "frequency_millihz"),
    *("power_factor_permille", "position", "index", "attested_by", "block_number", "block_hash"),
)
_DAYS_MAX = 31
_DAYS_DEFAULT = 7
_ROWS_AT_ONCE = 1_000


def asked_span(first: str | None, last: str | None, now_ms: int, zone: ZoneInfo) -> Span:
    """The local days `first` to `last` (2026-11-20), at most 31 of them; what cannot be read is the last seven days."""
    today = periods.day_of(now_ms, zone)
    end = periods.parse_day(last, zone) or today
    default = periods.day_of(end.to_ms - _DAYS_DEFAULT * 24 * periods.HOUR_MS, zone)
    begin = periods.parse_day(first, zone) or default
    earliest = periods.day_of(end.to_ms - _DAYS_MAX * 24 * periods.HOUR_MS, zone)
    return Span(max(min(begin.from_ms, end.from_ms), earliest.from_ms), end.to_ms)


def csv_lines(source: Source, meter: MeterRef | None, span: Span, numbers: Numbers) -> Iterator[str]:
    """The file, a thousand readings at a time; only whole numbers, hex and our own words stand in it."""
    yield ",".join(COLUMNS) + "\r\n"
    first, before = (0, 0) if meter is None else meter.within(span.from_ms, span.to_ms)
    while meter is not None:
        rows = source.readings(meter.id, before, _ROWS_AT_ONCE)
        wanted = [row for row in rows if row.time_ms >= first]
        if wanted:
            yield "".join(
                ",".join(
                    "" if value is None else str(value)
                    for value in (numbers.iso(row.time_ms), *(getattr(row, name) for name in COLUMNS[1:]))
                )
                + "\r\n"
                for row in wanted
            )
        if len(wanted) < _ROWS_AT_ONCE:
            return
        before = wanted[-1].time_ms
