"""Which of the good frames is worth a record."""

__all__ = ["is_marked_change", "is_wanted"]

_STEP_MW = 20_000
_STEP_PERCENT = 10


def is_marked_change(before_mw: int, now_mw: int) -> bool:
    """Whether power [mW] stepped by more than 20 W and more than 10 % of the larger, or between zero and not zero."""
    if (before_mw == 0) != (now_mw == 0):
        return True
    step = abs(now_mw - before_mw)
    return step > _STEP_MW and 100 * step > _STEP_PERCENT * max(abs(before_mw), abs(now_mw))


def is_wanted(*, since_ms: int | None, record_ms: int, poll_ms: int, power_before_mw: int, power_mw: int) -> bool:
    """Whether to record this frame, `since_ms` after the last recorded one (None: there is none in this epoch).

    Half a poll early counts as due, or a timer that is one millisecond short would double the interval.
    """
    if since_ms is None or record_ms <= poll_ms or 2 * (record_ms - since_ms) <= poll_ms:
        return True
    return is_marked_change(power_before_mw, power_mw)
