"""What the device knows of the time: always how long it has been up, the calendar only when it may be believed."""

import ctypes
from collections.abc import Callable
from typing import NamedTuple, Protocol

from terang.values.clock import Clock
from terang.values.reading import CLOCK_SYNCED, CLOCK_UNKNOWN

__all__ = ["JUMP_MS", "CalendarSource", "Moment", "TimeSource", "Uptime", "is_kernel_synced"]

JUMP_MS = 1000
"""How far the calendar may drift from uptime before a new time record says so [ms]."""

_PLAUSIBLE_MS = (1_704_067_200_000, 4_102_444_800_000)  # 2024-01-01 to 2100-01-01, UTC
_ASK_AGAIN_MS = 5000
_TIME_ERROR = 5


class Moment(NamedTuple):
    """When something was: `uptime_ms` in its epoch; `utc_ms` is None exactly where `clock` is CLOCK_UNKNOWN."""

    uptime_ms: int
    utc_ms: int | None
    clock: int


class TimeSource(Protocol):
    """The calendar, if it is known."""

    def known_utc_ms(self) -> tuple[int | None, int]:
        """(UTC in ms or None, one of the CLOCK codes of `reading`)."""
        ...


class CalendarSource:
    """The machine's calendar, believed while it is between 2024 and 2100 and `is_synced` says so.

    `is_synced` is asked at most every 5 s: it may cost a system call.
    """

    def __init__(self, clock: Clock, is_synced: Callable[[], bool]) -> None:
        self._clock = clock
        self._is_synced = is_synced
        self._answer = False
        self._asked_ms: int | None = None

    def known_utc_ms(self) -> tuple[int | None, int]:
        """(UTC in ms, CLOCK_SYNCED) or (None, CLOCK_UNKNOWN)."""
        now_ms = self._clock.monotonic_ms()
        if self._asked_ms is None or now_ms - self._asked_ms >= _ASK_AGAIN_MS:
            self._answer, self._asked_ms = self._is_synced(), now_ms
        utc_ms = self._clock.now_ms()
        if self._answer and _PLAUSIBLE_MS[0] <= utc_ms < _PLAUSIBLE_MS[1]:
            return utc_ms, CLOCK_SYNCED
        return None, CLOCK_UNKNOWN


class Uptime:
    """Moments of one epoch, which begins now, and when a time record is due."""

    def __init__(self, clock: Clock, source: TimeSource) -> None:
        self._clock = clock
        self._source = source
        self.started_ms = clock.monotonic_ms()
        self._fixed_offset_ms: int | None = None

    def now_ms(self) -> int:
        """Milliseconds since the epoch began."""
        return self._clock.monotonic_ms() - self.started_ms

    def moment(self) -> Moment:
        """Now, with what is known of the calendar."""
        utc_ms, clock = self._source.known_utc_ms()
        return Moment(self.now_ms(), utc_ms, clock)

    def fix_due(self) -> Moment | None:
        """The moment for a time record: when the calendar first becomes known, and when it has jumped since."""
        moment = self.moment()
        if moment.utc_ms is None:
            return None
        offset_ms = moment.utc_ms - moment.uptime_ms
        if self._fixed_offset_ms is not None and abs(offset_ms - self._fixed_offset_ms) <= JUMP_MS:
            return None
        self._fixed_offset_ms = offset_ms
        return moment


class _Timex(ctypes.Structure):
    # struct timex has 208 bytes on every Linux; only `modes` (0: change nothing) is looked at
    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_byte * 252))


def is_kernel_synced() -> bool:
    """Whether Linux calls its clock synchronised: adjtimex(2) does not answer TIME_ERROR."""
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.byref(_Timex())))
    except (OSError, AttributeError):
        return False
    return 0 <= state < _TIME_ERROR
