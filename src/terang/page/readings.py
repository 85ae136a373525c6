"""The readings of a meter, page by page."""

from terang.reader import ReadingRow, Source

__all__ = ["readings_before"]


def readings_before(
    source: Source, meter_id: int, before_ms: int | None, limit: int, since_ms: int
) -> tuple[list[ReadingRow], int | None]:
    """At most `limit` readings older than `before_ms` (None: from the newest on), none older than `since_ms`, newest
    first; and the `before_ms` of the page after, None where there is none.
    """
    rows = [row for row in source.readings(meter_id, before_ms, limit + 1) if row.time_ms >= since_ms]
    return rows[:limit], rows[limit - 1].time_ms if len(rows) > limit else None
