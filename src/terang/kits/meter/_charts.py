"""The history of a room as one chart: the sentence that answers it, the table behind it, the columns to be drawn.

An hour is drawn as power, a day and a month as energy. What is not known stays empty; energy that a person has still to
confirm is a band of its own on top of what is certain.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from terang.page import periods
from terang.page.numbers import UNKNOWN, Numbers
from terang.page.periods import HOUR_MS, Span
from terang.page.texts import Texts
from terang.reader import HourRow, MeterRef, Room, Series, Source

__all__ = ["PERIODS", "Chart", "chart_of", "with_gaps"]

PERIODS = ("hour", "day", "month")
_POINTS = 720
_SLICE_MS = 5 * 60_000
_GAP_FLOOR_MS = 5_000
_DRAWN_MS = 2 * 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`data` is what the browser draws, `header` and `rows` its table, `earlier` and `later` the dates to turn to."""

    period: str
    title: str
    sentence: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    data: dict[str, Any]
    earlier: str | None
    later: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    from_ms: int
    confirmed_mwh: int | None
    provisional_mwh: int
    power_max_mw: int | None


def chart_of(
    source: Source,
    room: Room,
    meter: MeterRef,
    *,
    period: str,
    at: str | None,
    since_ms: int,
    hours_since_ms: int,
    now_ms: int,
    texts: Texts,
    numbers: Numbers,
) -> Chart:
    """The chart of one meter of a room for the hour, day or month (`period`) of `at`.

    One may see its readings from `since_ms` on, its hourly sums from `hours_since_ms` on.
    """
    span = periods.span_at(period, now_ms, numbers.zone, at)
    if period == "hour":
        first_ms, end_ms = meter.within(max(span.from_ms, since_ms), span.to_ms)
        return _of_hour(source.series(meter.id, first_ms, end_ms, _POINTS), span, texts, numbers)
    hours = _hours(source, room, meter, Span(max(span.from_ms, hours_since_ms), span.to_ms))
    if period == "day":
        starts = list(range(span.from_ms, span.to_ms, HOUR_MS))
    else:
        starts = periods.day_starts(span, numbers.zone)
    bars = _bars(hours, starts, span.to_ms)
    return _of_bars(bars, span, period, hours_since_ms, now_ms, texts, numbers)


def _hours(source: Source, room: Room, meter: MeterRef, span: Span) -> list[HourRow]:
    """The hours of a meter in this room, and of those that it replaced there."""
    before = [past for past in room.past if past.to_ms is not None and past.to_ms <= meter.from_ms]
    found: list[HourRow] = []
    for ref in (*before, meter):
        first_ms, end_ms = ref.hours_within(span.from_ms, span.to_ms)
        found += source.hours(ref.id, first_ms, end_ms) if first_ms < end_ms else []
    return found


def with_gaps(times_ms: tuple[int, ...], values: tuple[int | None, ...]) -> tuple[list[int], list[int | None]]:
    """The columns with an unknown put wherever readings are missing, so that no line is drawn across a gap.

    A gap is four times the usual distance between neighbours, and at least five seconds.
    """
    if not times_ms:
        return [], []
    distances = sorted(later - earlier for earlier, later in pairwise(times_ms))
    usual = distances[len(distances) // 2] if distances else 0
    gap_ms = max(4 * usual, _GAP_FLOOR_MS)
    times, drawn = [times_ms[0]], [values[0]]
    for (earlier, later), value in zip(pairwise(times_ms), values[1:], strict=True):
        if later - earlier > gap_ms:
            times.append(earlier + 1)
            drawn.append(None)
        times.append(later)
        drawn.append(value)
    return times, drawn


def _of_hour(series: Series, span: Span, texts: Texts, numbers: Numbers) -> Chart:
    times, powers = with_gaps(series.times_ms, series.power_mw)
    known = [power for power in series.power_mw if power is not None]
    if known:
        low, high = numbers.milli(min(known), "W"), numbers.milli(max(known), "W")
        sentence = texts("chart.hour.sentence", low=low, high=high)
    else:
        sentence = texts("chart.hour.empty")
    return Chart(
        period="hour",
        title=texts("chart.hour.title"),
        sentence=sentence,
        header=(texts("chart.time"), texts("chart.lowest"), texts("chart.highest")),
        rows=tuple(_slices(series, span, numbers)),
        data={
            "kind": "line",
            "unit": "W",
            "from": _begin_ms(series, span) // 1000,
            "to": span.to_ms // 1000,
            "x": [ms / 1000 for ms in times],
            "y": [None if power is None else power / 1000 for power in powers],
        },
        earlier=None,
        later=None,
    )


def _begin_ms(series: Series, span: Span) -> int:
    """Where the drawing begins: with the first reading of a meter that is new, but never with less than two minutes."""
    first = series.times_ms[0] if series.times_ms else span.from_ms
    return max(span.from_ms, min(first, span.to_ms - _DRAWN_MS))


def _slices(series: Series, span: Span, numbers: Numbers) -> list[tuple[str, str, str]]:
    """Least and most power of each five minutes, newest first."""
    rows = []
    first = span.from_ms - span.from_ms % _SLICE_MS
    for start in range(first, span.to_ms, _SLICE_MS):
        inside = [
            power
            for ms, power in zip(series.times_ms, series.power_mw, strict=True)
            if start <= ms < start + _SLICE_MS and power is not None
        ]
        low = numbers.milli(min(inside), "W") if inside else UNKNOWN
        high = numbers.milli(max(inside), "W") if inside else UNKNOWN
        rows.append((numbers.clock(start), low, high))
    return rows[::-1]


def _bars(hours: list[HourRow], starts: list[int], end_ms: int) -> list[_Bar]:
    bars = []
    for start, end in zip(starts, [*starts[1:], end_ms], strict=True):
        inside = [row for row in hours if start <= row.hour_ms < end]
        powers = [row.power_max_mw for row in inside if row.power_max_mw is not None]
        bars.append(
            _Bar(
                from_ms=start,
                confirmed_mwh=sum(row.confirmed_mwh for row in inside) if inside else None,
                provisional_mwh=sum(row.provisional_mwh for row in inside),
                power_max_mw=max(powers, default=None),
            )
        )
    return bars


def _of_bars(
    bars: list[_Bar], span: Span, period: str, since_ms: int, now_ms: int, texts: Texts, numbers: Numbers
) -> Chart:
    past = [bar for bar in bars if bar.from_ms < now_ms]
    turn = periods.day_of if period == "day" else periods.month_of
    earlier = turn(span.from_ms - 1, numbers.zone)
    label = numbers.clock if period == "day" else numbers.short_day
    return Chart(
        period=period,
        title=numbers.day(span.from_ms, weekday=True) if period == "day" else numbers.month(span.from_ms),
        sentence=_bars_sentence(past, span, period, since_ms, texts, numbers),
        header=(texts("chart.time"), texts("chart.energy"), texts("chart.unsure"), texts("chart.peak")),
        rows=tuple(
            (
                label(bar.from_ms),
                numbers.kwh(bar.confirmed_mwh, 3) if bar.confirmed_mwh is not None else UNKNOWN,
                numbers.kwh(bar.provisional_mwh, 3) if bar.provisional_mwh else UNKNOWN,
                numbers.milli(bar.power_max_mw, "W") if bar.power_max_mw is not None else UNKNOWN,
            )
            for bar in reversed(past)
        ),
        data={
            "kind": "bars",
            "unit": "kWh",
            "step": period,
            "from": span.from_ms // 1000,
            "to": span.to_ms // 1000,
            "x": [bar.from_ms // 1000 for bar in bars],
            "y": [None if bar.confirmed_mwh is None else bar.confirmed_mwh / 1e6 for bar in bars],
            "band": [bar.provisional_mwh / 1e6 or None for bar in bars],
        },
        earlier=numbers.local(earlier.from_ms).date().isoformat() if earlier.to_ms > max(since_ms, 1) else None,
        later=numbers.local(span.to_ms).date().isoformat() if span.to_ms <= now_ms else None,
    )


def _bars_sentence(past: list[_Bar], span: Span, period: str, since_ms: int, texts: Texts, numbers: Numbers) -> str:
    known = [bar for bar in past if bar.confirmed_mwh is not None]
    if not known:
        too_new = bool(past) and past[-1].from_ms < since_ms <= span.to_ms
        return texts("chart.too_new" if too_new else f"chart.{period}.empty")
    total = sum(bar.confirmed_mwh or 0 for bar in known)
    sentences = [texts(f"chart.{period}.sentence", energy=numbers.energy(total))]
    provisional = sum(bar.provisional_mwh for bar in past)
    if provisional:
        sentences.append(texts("chart.provisional", energy=numbers.energy(provisional)))
    first = known[0].from_ms
    silent = sum(bar.confirmed_mwh is None for bar in past if bar.from_ms >= max(first, since_ms))
    if silent:
        sentences.append(texts(f"chart.{period}.silent", count=numbers.plain(silent)))
    return " ".join(sentences)
