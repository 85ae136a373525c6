"""Whether a signed statement can be true at all. What cannot be is kept, with the reason, and never becomes energy."""

from collections.abc import Sequence

from terang.values import quantity
from terang.values.envelope import LOST, READINGS, TIME
from terang.values.reading import Lost, Readings, TimeFix
from terang.verify.envelopes import NUMBER_LIMIT, Opened

__all__ = ["EARLIEST_MS", "FUTURE_MS", "LATEST_MS", "implausible", "is_plausible_time"]

EARLIEST_MS = 1_704_067_200_000  # 2024-01-01: before Terang existed, so a clock that was never set
LATEST_MS = 4_102_444_800_000  # 2100-01-01
FUTURE_MS = 24 * 3_600_000  # a device may be a day ahead of us; beyond that one of the two clocks is wrong
_RANGES = {known.code: (known.minimum, known.maximum) for known in quantity.QUANTITIES}
_NOTHING = (1, 0)  # the range of a quantity that is not known: nothing lies in it
_LOST_LIMIT = 1 << 32
_SPAN_MS = 3_600_000
_EPOCH_LIMIT_MS = 10 * 366 * 86_400_000  # no device runs longer than ten years without a restart


def implausible(opened: Opened, body: object, needed: Sequence[int]) -> str | None:
    """The reason in one line why this statement cannot be true, or None.

    `needed` are the quantity codes that the meter's kit wants. The platform's own clock has no say: it may be the one
    that is wrong (`is_plausible_time`), and whoever holds the log alone must come to the same answer.
    """
    if reason := _wrong_uptime(opened.uptime_ms):
        return reason
    if opened.utc_ms is not None and (reason := _wrong_time(opened.utc_ms)):
        return reason
    if opened.kind == READINGS and isinstance(body, Readings):
        return _wrong_values(body, needed)
    if opened.kind == TIME and isinstance(body, TimeFix):
        return _wrong_uptime(body.uptime_ms) or _wrong_time(body.utc_ms)
    if opened.kind == LOST and isinstance(body, Lost):
        return _wrong_loss(body)
    return None


def is_plausible_time(utc_ms: int, now_ms: int) -> bool:
    """Whether a reading can be of this time when the platform's clock says `now_ms`; else it waits without a date."""
    return _wrong_time(utc_ms) is None and utc_ms <= now_ms + FUTURE_MS


def _wrong_loss(body: Lost) -> str | None:
    if body.end_sequence - body.first_sequence > _LOST_LIMIT or body.end_sequence >= NUMBER_LIMIT:
        return "lost: the range is larger than any device can fill"
    if body.reads > _LOST_LIMIT:
        return "lost: more readings than any meter can give"
    return _wrong_uptime(body.to_uptime_ms)


def _wrong_uptime(uptime_ms: int) -> str | None:
    return "uptime: the device claims to run for more than ten years" if uptime_ms > _EPOCH_LIMIT_MS else None


def _wrong_time(utc_ms: int) -> str | None:
    if utc_ms < EARLIEST_MS:
        return "time: the clock says a time before 2024; it was never set"
    if utc_ms >= LATEST_MS:
        return "time: the clock says a time after 2100"
    return None


def _wrong_value(code: int, column: tuple[int, ...]) -> str:
    known = quantity.BY_CODE.get(code)
    if known is None:
        return f"quantity: code {code} is not known"
    worst = max(column) if max(column) > known.maximum else min(column)
    return f"{known.name}: {worst} {known.unit} is outside {known.minimum} to {known.maximum}"


def _wrong_values(body: Readings, needed: Sequence[int]) -> str | None:
    columns = body.columns
    for code, column in columns.items():
        least, most = _RANGES.get(code, _NOTHING)
        if min(column) < least or max(column) > most:
            return _wrong_value(code, column)
    for code in needed:
        if code not in columns:
            return f"{quantity.BY_CODE[code].name}: missing, and this meter's kit needs it"
    if body.offsets_ms[-1] > _SPAN_MS:
        return "time: one envelope spans more than an hour"
    return None
