"""What a room takes from the mains: a made-up household, or a recorded one.

Both answer for any moment and nothing but the moment: the same seed and time give the same power, in every process.
Powers, times of use and power factors are those of ordinary appliances of an Indonesian boarding house; the mains is
PLN's 220 V and 50 Hz with the wander of a village feeder.
"""

import csv
import math
import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from terang.values.errors import UsageError

__all__ = ["Household", "Load", "Moment", "Recording", "feeder_phase", "mains"]

_DAY_S = 86_400
_SITE_OFFSET_S = 7 * 3_600
_FEEDER_OHM = 0.45
_DAYS_KEPT = 2


class Moment(NamedTuple):
    """What a load draws now. `voltage_v` and `frequency_hz` are None where the mains model is to say them."""

    power_w: float
    power_factor: float
    voltage_v: float | None = None
    frequency_hz: float | None = None


class Load(Protocol):
    """What a meter measures."""

    def at(self, time_ms: int) -> Moment:
        """What is drawn at this moment (UTC)."""
        ...


class _Appliance(NamedTuple):
    """`power_w` with displacement factor `cos_phi` and current distortion `thd` (0: sine)."""

    power_w: float
    cos_phi: float
    thd: float


class _Use(NamedTuple):
    """One time of use within a day [s after local midnight]; may reach into the next day."""

    begin_s: int
    end_s: int
    appliance: _Appliance


@dataclass(slots=True)
class _Owned:
    """What a room has, drawn from its seed once."""

    fridge: bool
    cooker: bool
    pump: bool
    iron: bool
    laptop_w: float
    lamp_w: float
    fan_w: float
    standby_w: float
    wakes_s: int
    sleeps_s: int


class Household:
    """A room that lives by its seed: fridge cycles, rice cooker, water pump, iron, laptop, lamp, fan, nights."""

    def __init__(self, seed: str | int, *, site_offset_s: int = _SITE_OFFSET_S) -> None:
        self._seed = seed
        self._site_offset_s = site_offset_s
        self._days: dict[int, list[_Use]] = {}
        rng = _rng(seed, "owned")
        self._owned = _Owned(
            fridge=_happens(rng, percent=70),
            cooker=_happens(rng, percent=80),
            pump=_happens(rng, percent=35),
            iron=_happens(rng, percent=60),
            laptop_w=rng.uniform(38, 75),
            lamp_w=rng.uniform(6, 14),
            fan_w=rng.uniform(32, 55),
            standby_w=rng.uniform(2.0, 5.5),
            wakes_s=rng.randint(4 * 3600 + 1800, 7 * 3600),
            sleeps_s=rng.randint(21 * 3600, 25 * 3600),
        )

    def at(self, time_ms: int) -> Moment:
        """What is drawn at this moment (UTC): powers add, reactive and distorted currents too."""
        local_s = time_ms / 1000 + self._site_offset_s
        day, second = divmod(local_s, _DAY_S)
        active = self._owned.standby_w
        reactive = 0.6 * active
        distorted = (1.1 * active) ** 2
        for when, uses in ((second, self._uses(int(day))), (second + _DAY_S, self._uses(int(day) - 1))):
            for use in uses:
                if use.begin_s <= when < use.end_s:
                    power_w, cos_phi, thd = use.appliance
                    active += power_w
                    reactive += power_w * math.sqrt(1 - cos_phi * cos_phi) / cos_phi
                    distorted += (power_w / cos_phi * thd) ** 2
        active *= 1 + 0.006 * math.sin(local_s / 17.0) + 0.004 * math.sin(local_s / 3.1)
        return Moment(active, active / math.sqrt(active * active + reactive * reactive + distorted))

    def _uses(self, day: int) -> list[_Use]:
        uses = self._days.get(day)
        if uses is None:
            uses = self._days[day] = list(self._plan(day))
            for old in [known for known in self._days if abs(known - day) > _DAYS_KEPT]:
                del self._days[old]
        return uses

    def _plan(self, day: int) -> Iterator[_Use]:
        owned = self._owned
        rng = _rng(self._seed, day)
        wakes = owned.wakes_s + rng.randint(-900, 900)
        sleeps = owned.sleeps_s + rng.randint(-1800, 1800)
        leaves, returns = wakes + rng.randint(3600, 7200), rng.randint(14 * 3600, 18 * 3600)
        if owned.fridge:
            yield from _fridge(rng)
        if owned.cooker:
            for begin in (wakes + rng.randint(300, 2400), returns + rng.randint(600, 5400)):
                yield from _cooker(rng, begin)
        if owned.pump:
            for _ in range(rng.randint(4, 9)):
                begin = rng.randint(wakes, sleeps)
                yield _Use(begin, begin + rng.randint(120, 480), _Appliance(rng.uniform(180, 260), 0.78, 0.08))
        if owned.iron and _happens(rng, percent=40):
            yield from _iron(rng, rng.choice((wakes + 1200, returns + 3600)))
        yield _Use(returns + 1800, max(returns + 3600, sleeps - 1200), _Appliance(owned.laptop_w, 0.95, 0.9))
        lamp = _Appliance(owned.lamp_w, 0.92, 0.75)
        yield _Use(wakes, max(wakes + 600, 6 * 3600), lamp)
        yield _Use(17 * 3600 + 2700, sleeps, lamp)
        yield _Use(sleeps, _DAY_S + wakes, _Appliance(1.2, 0.9, 0.8))
        fan = _Appliance(owned.fan_w, 0.96, 0.06)
        yield _Use(wakes, leaves, fan)
        if _happens(rng, percent=55):  # a day at home
            yield _Use(leaves, returns, fan)
            yield _Use(leaves + rng.randint(0, 3600), returns - 3600, _Appliance(owned.laptop_w, 0.95, 0.9))
        yield _Use(returns, _DAY_S + wakes - rng.randint(0, 7200), fan)


def _fridge(rng: random.Random) -> Iterator[_Use]:
    """About 14 minutes in 40: the compressor begins with a second of ten times its power, drawn as one use."""
    at = rng.randint(0, 2400)
    power_w = rng.uniform(75, 110)
    while at < _DAY_S:
        runs = rng.randint(600, 1100)
        yield _Use(at, at + 1, _Appliance(power_w * 5, 0.55, 0.1))
        yield _Use(at + 1, at + runs, _Appliance(power_w, 0.68, 0.12))
        at += runs + rng.randint(1200, 2100)


def _cooker(rng: random.Random, begin: int) -> Iterator[_Use]:
    cooked = begin + rng.randint(1200, 1700)
    yield _Use(begin, cooked, _Appliance(rng.uniform(310, 395), 1.0, 0.0))
    warm = cooked + rng.randint(1800, 9000)
    while cooked < warm:  # keeping warm: the element comes on for half a minute in three
        yield _Use(cooked, cooked + 35, _Appliance(rng.uniform(45, 75), 1.0, 0.0))
        cooked += rng.randint(140, 220)


def _iron(rng: random.Random, begin: int) -> Iterator[_Use]:
    end = begin + rng.randint(900, 2400)
    power_w = rng.uniform(300, 350)
    heats = 150
    while begin < end:
        yield _Use(begin, begin + heats, _Appliance(power_w, 1.0, 0.0))
        begin += heats + rng.randint(35, 80)
        heats = rng.randint(18, 40)


class Recording:
    """A recorded house, played from its first row at `begin_ms` on and again when it is over.

    The file is CSV with a heading. Time: `ts`, `time`, `datetime` (ISO) or `timestamp` (seconds since 1970). Power:
    `p_kw`, `power_w` or `power` [W]. Voltage `v` or `voltage`, and frequency `freq`, where there are such columns.
    """

    def __init__(self, path: Path, begin_ms: int) -> None:
        self._begin_ms = begin_ms
        self._times_ms: list[int] = []
        self._moments: list[Moment] = []
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                moment = _recorded(row, path)
                if moment is not None:
                    self._times_ms.append(_time_ms(row, path))
                    self._moments.append(moment)
        if not self._times_ms[1:] or sorted(self._times_ms) != self._times_ms:
            raise UsageError(f"{path}: a recording needs two rows or more, in the order of their time")

    @property
    def length_ms(self) -> int:
        """How long it plays before it begins again."""
        step = self._times_ms[1] - self._times_ms[0]
        return self._times_ms[-1] - self._times_ms[0] + step

    def at(self, time_ms: int) -> Moment:
        """The row that holds at this moment."""
        place = self._times_ms[0] + (time_ms - self._begin_ms) % self.length_ms
        return self._moments[bisect_right(self._times_ms, place) - 1]


def _recorded(row: dict[str, str], path: Path) -> Moment | None:
    """The row's moment; None for a row without a value, as recordings have them."""
    power = row.get("p_kw", row.get("power_w", row.get("power")))
    if power is None:
        raise UsageError(f"{path}: no column p_kw, power_w or power")
    voltage, frequency = row.get("v", row.get("voltage")), row.get("freq")
    if not power.strip():
        return None
    try:
        power_w = float(power) * (1000 if "p_kw" in row else 1)
        reactive_w = float(row.get("q_kvar") or 0) * 1000
        voltage_v = float(voltage) if voltage else None
        frequency_hz = float(frequency) if frequency else None
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    apparent = math.hypot(power_w, reactive_w)
    return Moment(power_w, power_w / apparent if apparent else 1.0, voltage_v, frequency_hz)


def _time_ms(row: dict[str, str], path: Path) -> int:
    try:
        if row.get("timestamp"):
            return int(float(row["timestamp"]) * 1000)
        text = row.get("ts") or row.get("time") or row.get("datetime") or ""
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError as error:
        raise UsageError(f"{path}: no time in a row: {error}") from error


def feeder_phase(seed: str | int) -> float:
    """What makes one room's mains wander differ from another's."""
    return _rng(seed, "feeder").uniform(0, 1000)


def mains(phase: float, time_ms: int, current_a: float) -> tuple[float, float]:
    """(voltage [V], frequency [Hz]) of the room's socket: the feeder sags in the evening and under the room's load."""
    second = time_ms / 1000
    evening = math.exp(-((((second + _SITE_OFFSET_S) % _DAY_S / 3600) - 19.5) ** 2) / 6)
    slow = math.sin(second / 611 + phase) * 1.9 + math.sin(second / 97 + 2 * phase) * 1.1
    flicker = math.sin(second / 7.1 + 3 * phase) * 0.4
    frequency_hz = 50 + 0.035 * math.sin(second / 43) + 0.03 * math.sin(second / 301)
    return 222.5 - 5.5 * evening + slow + flicker - current_a * _FEEDER_OHM, frequency_hz


def _happens(rng: random.Random, *, percent: int) -> bool:
    return rng.randrange(100) < percent


def _rng(seed: str | int, what: str | int) -> random.Random:
    # text, because hash() of a tuple with text in it differs from process to process
    return random.Random(f"terang/{seed}/{what}")  # noqa: S311 - a simulation, not a secret
