"""One thread a bus: asks each meter in turn, judges the answer, and hands it to the outbox before asking again."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from terang.edge.config import BusConfig
from terang.edge.outbox import Outbox
from terang.edge.recorder import is_wanted
from terang.edge.state import StateBoard
from terang.edge.time_source import Uptime
from terang.values.errors import BusError, FrameError
from terang.values.reading import Event

__all__ = ["Bus", "BusReader", "MeterKind", "OpenBus", "Pace"]

_DEAD_AFTER = 3
_REOPEN_S = (1.0, 2.0, 5.0)
_TELL_REFUSED_MS = 60_000


class Bus(Protocol):
    """An open line with meters on it."""

    def read(self, address: int) -> tuple[int, ...]:
        """What the meter measures now, in the kit's quantities.

        Raises BusError where no answer came, FrameError where it cannot be trusted.
        """
        ...

    def close(self) -> None:
        """Let go of the line."""
        ...


OpenBus = Callable[[str], Bus]
"""Opens the line at this port; BusError where it cannot be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterKind:
    """What the agent must know of the meters: how to open a line, what `read` answers, what is plausible.

    `quantities` are the codes of the integers that `Bus.read` answers, in its order; `power_at` is the place of the
    power [mW] among them. `implausible` says in a word what cannot be in a reading, '' where all may be; without one
    the line's own judgement (FrameError) is all there is.
    """

    open_bus: OpenBus
    quantities: tuple[int, ...]
    power_at: int
    implausible: Callable[[tuple[int, ...]], str] | None = None


class Pace(NamedTuple):
    """How often each meter is asked and recorded [ms]."""

    poll_ms: int
    record_ms: int


class _Meter:
    """What one bus remembers of one of its meters."""

    __slots__ = ("failures", "power_mw", "reads", "recorded", "recorded_ms", "refused", "told_ms", "untold")

    def __init__(self) -> None:
        self.reads = self.recorded = self.refused = self.failures = self.power_mw = self.untold = 0
        self.recorded_ms: int | None = None
        self.told_ms: int | None = None


class BusReader:
    """Reads one bus until told to stop. Everything that goes wrong there is a state of the board, never an end."""

    def __init__(
        self, config: BusConfig, kind: MeterKind, pace: Pace, outbox: Outbox, uptime: Uptime, board: StateBoard
    ) -> None:
        self._config, self._kind, self._pace = config, kind, pace
        self._outbox, self._uptime, self._board = outbox, uptime, board
        self._meters = {address: _Meter() for address in config.addresses}
        self._bus: Bus | None = None
        self._is_dead = False
        self._closed_rounds = 0

    def run(self, stop: threading.Event) -> None:
        """Ask every meter once each `poll_ms`, on a fixed beat; a beat that was missed is not made up for."""
        next_ms = self._uptime.now_ms()
        while not stop.is_set():
            try:
                self._round(stop)
            except Exception as error:  # noqa: BLE001 -- a bus that nobody reads any more must not be silent
                self._die(f"{type(error).__name__}: {error}")
            now_ms = self._uptime.now_ms()
            next_ms = max(next_ms + self._pace.poll_ms, now_ms)
            stop.wait((next_ms - now_ms) / 1000)
        self.close()

    def _round(self, stop: threading.Event) -> None:
        if not self.is_open():
            stop.wait(_REOPEN_S[min(self._closed_rounds, len(_REOPEN_S)) - 1])
            return
        for address in self._config.addresses:
            if stop.is_set():
                return
            self.poll(address)
        self._judge_round()

    def close(self) -> None:
        """Let go of the line."""
        if self._bus is not None:
            self._bus.close()
            self._bus = None

    def is_open(self) -> bool:
        """Whether the line is open; opens it where it is not."""
        if self._bus is None:
            try:
                self._bus = self._kind.open_bus(self._config.port)
            except BusError as error:
                self._closed_rounds += 1
                self._die(str(error))
                return False
        self._closed_rounds = 0
        return True

    def poll(self, address: int) -> None:
        """Ask one meter once; the answer is on disk, passed over or counted as missed when this returns."""
        bus = self._bus
        if bus is None:
            return
        number, meter = self._config.meter(address), self._meters[address]
        nth = self._outbox.intend(number)
        meter.reads += 1
        try:
            values = bus.read(address)
        except FrameError as error:
            self._refuse(number, meter, nth, "refused", str(error))
            return
        except BusError as error:
            meter.failures += 1
            self._outbox.miss(number, nth, "no_answer")
            if meter.failures >= _DEAD_AFTER:
                self._board.set(self._topic(address), f"no answer ({error})", is_fault=True)
            return
        except Exception as error:  # noqa: BLE001 -- a stranger's kit may raise anything; the other meters go on
            self._refuse(number, meter, nth, "refused", f"the kit failed: {type(error).__name__}: {error}")
            return
        meter.failures = 0
        fault = self._kind.implausible(values) if self._kind.implausible else ""
        if fault:
            self._refuse(number, meter, nth, "implausible", fault)
            return
        self._board.set(self._topic(address), "answers")
        self._keep(number, meter, nth, values)

    def _keep(self, number: int, meter: _Meter, nth: int, values: tuple[int, ...]) -> None:
        moment = self._uptime.moment()
        power_mw = values[self._kind.power_at]
        since_ms = None if meter.recorded_ms is None else moment.uptime_ms - meter.recorded_ms
        if not is_wanted(
            since_ms=since_ms,
            record_ms=self._pace.record_ms,
            poll_ms=self._pace.poll_ms,
            power_before_mw=meter.power_mw,
            power_mw=power_mw,
        ):
            self._outbox.pass_over(number)
        elif self._outbox.record(number, nth, moment, values):
            meter.recorded += 1
            meter.recorded_ms, meter.power_mw = moment.uptime_ms, power_mw

    def _refuse(self, number: int, meter: _Meter, nth: int, reason: str, text: str) -> None:
        meter.refused += 1
        meter.failures = 0
        meter.untold += 1
        self._outbox.miss(number, nth, reason)
        now_ms = self._uptime.now_ms()
        if meter.told_ms is None or now_ms - meter.told_ms >= _TELL_REFUSED_MS:
            self._outbox.say(Event("frame_refused", meter.untold), number)
            self._board.note(f"meter {number}: a frame was refused: {text}")
            meter.told_ms, meter.untold = now_ms, 0

    def _judge_round(self) -> None:
        """A line where nobody answers is opened anew: an adapter that was plugged out and in is another file."""
        if all(meter.failures >= _DEAD_AFTER for meter in self._meters.values()):
            self._die("no meter answers")
            self.close()
        elif any(meter.failures == 0 for meter in self._meters.values()):
            if self._is_dead:
                self._is_dead = False
                self._outbox.say(Event("bus_back", self._config.number))
            self._board.set(f"bus {self._config.number}", f"{self._config.port} answers")

    def _die(self, why: str) -> None:
        if not self._is_dead:
            self._is_dead = True
            self._outbox.say(Event("bus_dead", self._config.number))
        self._board.set(f"bus {self._config.number}", f"{self._config.port} is dead: {why}", is_fault=True)

    def _topic(self, address: int) -> str:
        return f"meter {self._config.meter(address)}"

    def figures(self) -> dict[str, dict[str, int]]:
        """For the state file: of each meter how often it was asked, recorded and refused."""
        return {
            str(self._config.meter(address)): {"reads": m.reads, "recorded": m.recorded, "refused": m.refused}
            for address, m in self._meters.items()
        }
