"""The readings of a meter, page by page."""

from terang.reader import MeterRef, ReadingRow, Source

__all__ = ["readings_before"]


_EVER = 1 << 62


def readings_before(
    source: Source, meter: MeterRef, before_ms: int | None, limit: int, since_ms: int
) -> tuple[list[ReadingRow], int | None]:
    """At most `limit` readings of the room's meter older than `before_ms` (None: from the newest on), none older than
    `since_ms`, newest first; and the `before_ms` of the page after, None where there is none.
    """
    first_ms, end_ms = meter.within(since_ms, _EVER if before_ms is None else before_ms)
    rows = [row for row in source.readings(meter.id, end_ms, limit + 1) if row.time_ms >= first_ms]
    return rows[:limit], rows[limit - 1].time_ms if len(rows) > limit else None
