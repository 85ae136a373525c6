"""The only sources of time. Shells get a Clock; pure code gets a number."""

import time
from typing import Protocol

__all__ = ["Clock", "FakeClock", "SystemClock"]


class Clock(Protocol):
    """Two readings: what the calendar says, and what cannot be set back."""

    def now_ms(self) -> int:
        """UTC, milliseconds since 1970; may jump when somebody sets the clock."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary start; never goes back, not even when the calendar does."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        """UTC, milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Milliseconds since the machine started."""
        return time.monotonic_ns() // 1_000_000


class FakeClock:
    """A clock that stands still until it is told otherwise, for tests and simulations."""

    def __init__(self, now_ms: int = 1_763_600_000_000, monotonic_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = monotonic_ms

    def now_ms(self) -> int:
        """UTC, milliseconds since 1970."""
        return self._now_ms

    def monotonic_ms(self) -> int:
        """Milliseconds since the fake start."""
        return self._monotonic_ms

    def advance(self, ms: int) -> None:
        """Let time pass on both clocks; `ms` may not be negative."""
        if ms < 0:
            raise ValueError("time does not run backwards; use set_now_ms to set the calendar")
        self._now_ms += ms
        self._monotonic_ms += ms

    def set_now_ms(self, now_ms: int) -> None:
        """Set the calendar, as a person or NTP would; the monotonic clock does not move."""
        self._now_ms = now_ms
