"""Simulated meters: PZEM-004T v3 that speak real Modbus RTU on pseudo-terminals.

The edge reads them as it reads real ones. One process serves many buses, ends with its parent, and writes down every
answer that it gives. Faults are put into answers on demand.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import threading
import tty
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from terang.kits.meter import _frames as frames
from terang.kits.meter._loads import Household, Load, Moment, Recording, feeder_phase, mains
from terang.kits.meter._served import SOUND, Served, ServedFile, served
from terang.kits.meter.model import COUNTER_END_MWH
from terang.values.clock import Clock, SystemClock
from terang.values.errors import UsageError

__all__ = [
    "FAULTS",
    "SOUND",
    "Bus",
    "Fault",
    "Household",
    "Load",
    "Meter",
    "Moment",
    "Recording",
    "RunningBus",
    "Served",
    "ServedFile",
    "SimulatorOptions",
    "main",
    "run_simulator",
    "served",
]

FAULTS = ("none", "glitch", "crc", "silence", "reset", "stranger", "late", "near_end", "zero", "short")
"""glitch: 0 V and an enormous counter; crc: bits flipped; reset: the counter begins at 0; stranger: an answer from
another address; late: `late_ms` after it is due; near_end: the counter stands just below 10,000 kWh; zero: one answer
with counter 0; short: half an answer."""

_BYTE_S = 10 / 9600
_TURNAROUND_S = 0.004
_JUNK_S = 0.02
_LOOK_S = 0.2
_MWMS_PER_WH = 3_600_000_000
_START_W = 0.4
_READ_HOLDING, _READ_INPUT, _WRITE_ONE, _RESET, _CALIBRATE = 0x03, 0x04, 0x06, 0x42, 0x41
_LENGTHS = {_READ_HOLDING: 8, _READ_INPUT: 8, _WRITE_ONE: 8, _RESET: 4, _CALIBRATE: 6}
_NO_FUNCTION, _NO_REGISTER, _NO_VALUE = 1, 2, 3
_FIRST_HOLDING, _END_HOLDING = 1, 3


@dataclass(slots=True, kw_only=True)
class Fault:
    """What goes wrong with the next `count` answers to reads of values."""

    kind: str
    count: int = 1
    late_ms: int = 400

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise UsageError(f"no such fault: {self.kind}; there are {', '.join(FAULTS)}")


class Meter:
    """One meter: a load, the mains, and a counter in 1 Wh steps that integrates the true power second by second.

    `refresh_ms` is how often the chip brings its values up to date (0: for every answer).
    """

    def __init__(self, address: int, seed: str | int, load: Load, *, now_ms: int, refresh_ms: int = 0) -> None:
        self.address = address
        self.alarm_w = 23_000
        self.faults: deque[Fault] = deque()
        self._load = load
        self._phase = feeder_phase(seed)
        self._mwms = 0
        self._then_ms = now_ms
        self._refresh_ms = refresh_ms
        self._shown_ms = -refresh_ms
        self._shown: tuple[int, ...] = ()

    @property
    def energy_mwh(self) -> int:
        """What the counter shows."""
        return self._mwms // _MWMS_PER_WH * 1000

    @energy_mwh.setter
    def energy_mwh(self, energy_mwh: int) -> None:
        self._mwms = energy_mwh % COUNTER_END_MWH // 1000 * _MWMS_PER_WH

    def run(self, now_ms: int) -> None:
        """Count what was used up to now; a clock that was set back counts nothing."""
        while self._then_ms < now_ms:
            end_ms = min(now_ms, self._then_ms + 1000)
            power_mw = max(0, round(self._load.at(self._then_ms).power_w * 1000))
            self._mwms += power_mw * (end_ms - self._then_ms)
            self._then_ms = end_ms
        self._mwms %= COUNTER_END_MWH // 1000 * _MWMS_PER_WH
        self._then_ms = min(self._then_ms, now_ms)

    def values(self, now_ms: int) -> tuple[int, ...]:
        """The six quantities as the chip shows them now, in its own steps."""
        self.run(now_ms)
        if not self._shown or now_ms - self._shown_ms >= self._refresh_ms:
            fresh = self._measure(now_ms)
            if self._refresh_ms == 0 and fresh[:3] == self._shown[:3]:
                # no two answers alike, so that each can be told from the one before
                fresh = (fresh[0] + (100 if self._shown[0] <= fresh[0] else -100), *fresh[1:])
            self._shown, self._shown_ms = fresh, now_ms
        voltage_mv, current_ma, power_mw, frequency_millihz, factor = self._shown
        return voltage_mv, current_ma, power_mw, self.energy_mwh, frequency_millihz, factor

    def _measure(self, now_ms: int) -> tuple[int, ...]:
        moment = self._load.at(now_ms)
        current_a = moment.power_w / max(0.05, moment.power_factor) / 220
        voltage_v, frequency_hz = mains(self._phase, now_ms, current_a)
        voltage_mv = round((moment.voltage_v or voltage_v) * 10) * 100
        frequency_millihz = round((moment.frequency_hz or frequency_hz) * 10) * 100
        if moment.power_w < _START_W:
            return voltage_mv, 0, 0, frequency_millihz, 0
        factor = max(1, round(moment.power_factor * 100)) * 10
        power_mw = round(moment.power_w * 10) * 100
        return voltage_mv, round(power_mw * 1_000_000 / voltage_mv / factor), power_mw, frequency_millihz, factor

    def write(self, register: int, value: int) -> int:
        """Write one holding register; the exception code, or 0."""
        if register == frames.ALARM_REGISTER:
            self.alarm_w = value
        elif register != frames.ADDRESS_REGISTER:
            return _NO_REGISTER
        elif not 0 < value <= frames.ADDRESS_MAX:
            return _NO_VALUE
        else:
            self.address = value
        return 0


@dataclass(slots=True)
class _Answer:
    """Bytes for the line, and how long after the request they are due beyond the turnaround."""

    data: bytes
    late_s: float = 0.0


@dataclass(slots=True)
class Bus:
    """All meters on one line: takes requests, gives answers, knows nothing of files or time."""

    number: int
    meters: list[Meter]
    record: ServedFile | None = None
    calibrations_asked: int = 0
    answered: int = 0
    _buffer: bytearray = field(default_factory=bytearray)

    def take(self, data: bytes, now_ms: int) -> list[_Answer]:
        """What the line says to these bytes; what is no request is met with silence, as the chip does it."""
        self._buffer += data
        answers: list[_Answer] = []
        while len(self._buffer) > 1:
            length = _LENGTHS.get(self._buffer[1], 8)
            if len(self._buffer) < length:
                break
            request = bytes(self._buffer[:length])
            if frames.seal(request[:-2]) != request:
                self._buffer.clear()
                break
            del self._buffer[:length]
            answers += self._together(
                [answer for meter in self._asked(request[0]) for answer in self._ask(meter, request, now_ms)]
            )
        return answers

    def forget(self) -> None:
        """A silence: what came before it was no request."""
        self._buffer.clear()

    def _asked(self, address: int) -> list[Meter]:
        everybody = address in (frames.BROADCAST, frames.GENERAL_ADDRESS)
        return [meter for meter in self.meters if everybody or meter.address == address]

    @staticmethod
    def _together(answers: list[_Answer]) -> list[_Answer]:
        """Several meters that speak at once pull the line low together: a wired AND."""
        if not answers[1:]:
            return answers
        longest = max(len(answer.data) for answer in answers)
        mixed = bytearray(b"\xff" * longest)
        for answer in answers:
            for i, byte in enumerate(answer.data):
                mixed[i] &= byte
        return [_Answer(bytes(mixed))]

    def _ask(self, meter: Meter, request: bytes, now_ms: int) -> Iterable[_Answer]:
        address, function = request[0], request[1]
        register, number = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        if function == _CALIBRATE:
            self.calibrations_asked += 1
            return []
        if function == _READ_INPUT and address != frames.BROADCAST:
            return self._read_values(meter, address, register, number, now_ms)
        if function == _WRITE_ONE:
            error = meter.write(register, number)
            data = request if not error else frames.seal(bytes((address, function | 0x80, error)))
        elif function == _READ_HOLDING:
            data = _read_holding(meter, address, register, number)
        elif function == _RESET:
            meter.energy_mwh = 0
            data = request
        else:
            data = frames.seal(bytes((address, function | 0x80, _NO_FUNCTION)))
        return [] if address == frames.BROADCAST else [_Answer(data)]

    def _read_values(self, meter: Meter, address: int, first: int, count: int, now_ms: int) -> Iterable[_Answer]:
        if not 0 < count <= frames.INPUT_REGISTERS or first + count > frames.INPUT_REGISTERS:
            return [_Answer(frames.seal(bytes((address, _READ_INPUT | 0x80, _NO_REGISTER))))]
        fault = _next_fault(meter)
        if fault.kind == "silence":
            return []
        if fault.kind in ("reset", "near_end"):
            meter.energy_mwh = 0 if fault.kind == "reset" else COUNTER_END_MWH - 3000
        values = _spoil(fault.kind, meter.values(now_ms))
        registers = frames.to_registers(values, 0xFFFF if values[2] > meter.alarm_w * 1000 else 0)
        body = b"".join(register.to_bytes(2, "big") for register in registers[first : first + count])
        data = bytearray(frames.seal(bytes((address, _READ_INPUT, len(body))) + body))
        if fault.kind == "stranger":
            other = address % frames.ADDRESS_MAX + 1
            data = bytearray(frames.seal(bytes((other, _READ_INPUT, len(body))) + body))
        elif fault.kind == "crc":
            data[5] ^= 0x24
        elif fault.kind == "short":
            del data[len(data) // 2 :]
        self.answered += 1
        if self.record is not None:
            number = FAULTS.index(fault.kind) if fault.kind not in ("reset", "near_end") else SOUND
            self.record.add(self.number, meter.address, number, now_ms, values)
        return [_Answer(bytes(data), fault.late_ms / 1000 if fault.kind == "late" else 0.0)]


def _next_fault(meter: Meter) -> Fault:
    if not meter.faults:
        return Fault(kind="none")
    fault = meter.faults[0]
    fault.count -= 1
    if fault.count <= 0:
        meter.faults.popleft()
    return fault


def _spoil(kind: str, values: tuple[int, ...]) -> tuple[int, ...]:
    if kind == "glitch":
        return 0, 0, 0, 4_294_967_295_000, values[4], 0
    if kind == "zero":
        return (*values[:3], 0, *values[4:])
    return values


def _read_holding(meter: Meter, address: int, first: int, count: int) -> bytes:
    if first < _FIRST_HOLDING or count < 1 or first + count > _END_HOLDING:
        return frames.seal(bytes((address, _READ_HOLDING | 0x80, _NO_REGISTER)))
    held = (meter.alarm_w, meter.address)[first - _FIRST_HOLDING : first - _FIRST_HOLDING + count]
    body = b"".join(value.to_bytes(2, "big") for value in held)
    return frames.seal(bytes((address, _READ_HOLDING, len(body))) + body)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """What to simulate. `buses`: the addresses of the meters on each line; `recording` replaces the households."""

    buses: Sequence[Sequence[int]]
    seed: int = 1
    recording: Path | None = None
    byte_time: bool = True
    refresh_ms: int = 0
    parent: int | None = None


class _Line:
    """One bus on its pseudo-terminal."""

    def __init__(self, bus: Bus, link: Path, clock: Clock, *, byte_time: bool) -> None:
        self._bus = bus
        self._clock = clock
        self._byte_time = byte_time
        self._loop = asyncio.get_running_loop()
        self._heard_s = 0.0
        # the far end stays open here too, or the line would hang up whenever the reader goes
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        _point(link, os.ttyname(self._far))
        self._link = link
        self._loop.add_reader(self._near, self._hear)

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            data = os.read(self._near, 4096)
            now_s = self._loop.time()
            if now_s - self._heard_s > _JUNK_S:
                self._bus.forget()
            self._heard_s = now_s
            for answer in self._bus.take(data, self._clock.now_ms()):
                wait_s = answer.late_s
                if self._byte_time:
                    wait_s += (len(data) + len(answer.data)) * _BYTE_S + _TURNAROUND_S
                if wait_s:
                    self._loop.call_later(wait_s, self._say, answer.data)
                else:
                    self._say(answer.data)

    def _say(self, data: bytes) -> None:
        # a full line means that nobody listens: what a real wire carries then is gone too
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._near, data)

    def close(self) -> None:
        self._loop.remove_reader(self._near)
        os.close(self._near)
        os.close(self._far)
        self._link.unlink(missing_ok=True)


class RunningBus:
    """One bus on a pseudo-terminal, served by a thread of this process while the `with` block lasts: for tests.

    `path` is what a reader opens; `bus` and its meters may be looked at and given faults between reads.
    """

    def __init__(self, bus: Bus, path: Path, *, byte_time: bool = False, clock: Clock | None = None) -> None:
        self.bus = bus
        self.path = path
        self._byte_time = byte_time
        self._clock = clock or SystemClock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._line = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    async def _open(self) -> _Line:
        return _Line(self.bus, self.path, self._clock, byte_time=self._byte_time)

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._line.close()


def _point(link: Path, target: str) -> None:
    fresh = link.with_name(link.name + ".new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def run_simulator(directory: Path, options: SimulatorOptions, clock: Clock | None = None) -> None:
    """Serve until the parent process ends or this one gets SIGTERM or SIGINT; it owns its process's main thread.

    In `directory`: bus0, bus1, ... are links to the lines, `ready.json` says that all of them stand, `served.bin` is
    the list of answers, `registers.json` what the counters stood at, and lines of JSON in `faults.jsonl` such as
    {"bus": 0, "address": 1, "kind": "glitch", "count": 1} put faults into answers from then on.
    """
    asyncio.run(_Simulation(directory, options, clock or SystemClock()).serve())


class _Simulation:
    def __init__(self, directory: Path, options: SimulatorOptions, clock: Clock) -> None:
        self._directory = directory
        self._options = options
        self._clock = clock
        self._faults_read = 0
        self._saved: dict[str, int] = {}
        directory.mkdir(parents=True, exist_ok=True)
        self._record = ServedFile(directory / "served.bin")
        self._buses = [self._bus(number, addresses) for number, addresses in enumerate(options.buses)]

    def _bus(self, number: int, addresses: Sequence[int]) -> Bus:
        now_ms = self._clock.now_ms()
        registers = self._directory / "registers.json"
        kept: dict[str, int] = json.loads(registers.read_text("utf-8")) if registers.exists() else {}
        meters = []
        for place, address in enumerate(addresses):
            seed = f"{self._options.seed}/{number}/{place}"
            path = self._options.recording
            load: Load = Recording(path, now_ms) if path else Household(seed)
            meter = Meter(address, seed, load, now_ms=now_ms, refresh_ms=self._options.refresh_ms)
            last = self._record.last.get((number, address))
            sound = last.values[3] if last is not None and last.fault == SOUND else 0
            meter.energy_mwh = max(kept.get(f"{number}/{address}", 0), sound)
            meters.append(meter)
        return Bus(number, meters, self._record)

    async def serve(self) -> None:
        """Open the lines, say so, and look after parent, faults and counters until it is time to end."""
        lines = [
            _Line(bus, self._directory / f"bus{bus.number}", self._clock, byte_time=self._options.byte_time)
            for bus in self._buses
        ]
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        ready = self._directory / "ready.json"
        _replace(ready, {"pid": os.getpid(), "buses": [list(addresses) for addresses in self._options.buses]})
        try:
            while not stop.is_set() and self._options.parent in (None, os.getppid()):
                self._take_faults()
                self._keep_registers()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _LOOK_S)
        finally:
            self._keep_registers()
            ready.unlink(missing_ok=True)
            for line in lines:
                line.close()
            self._record.close()

    def _keep_registers(self) -> None:
        now = {f"{bus.number}/{meter.address}": meter.energy_mwh for bus in self._buses for meter in bus.meters}
        if now != self._saved:
            _replace(self._directory / "registers.json", now)
            self._saved = now

    def _take_faults(self) -> None:
        path = self._directory / "faults.jsonl"
        if not path.exists():
            return
        lines = path.read_text("utf-8").splitlines()
        for line in lines[self._faults_read :]:
            asked = json.loads(line)
            for meter in self._buses[asked.pop("bus")].meters:
                if meter.address == asked["address"]:
                    meter.faults.append(Fault(**{key: value for key, value in asked.items() if key != "address"}))
        self._faults_read = len(lines)


def _replace(path: Path, content: object) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(content), "utf-8")
    fresh.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulator from a command line; a first line of help says what each option is for."""
    parser = argparse.ArgumentParser(
        prog="terang-simulator", description="simulated PZEM-004T meters on pseudo-terminals"
    )
    parser.add_argument("directory", type=Path, help="where links, the list of answers and the counters are kept")
    parser.add_argument("--buses", type=int, default=1, help="number of lines")
    parser.add_argument("--meters", type=int, default=1, help="meters on each line, addresses from 1")
    parser.add_argument("--seed", type=int, default=1, help="which households")
    parser.add_argument("--recording", type=Path, help="play this CSV instead of the households")
    parser.add_argument("--no-byte-time", action="store_true", help="answer at once, not at 9600 bit/s")
    parser.add_argument("--refresh-ms", type=int, default=0, help="how often the chip brings its values up to date")
    parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    asked = parser.parse_args(arguments)
    options = SimulatorOptions(
        buses=[range(1, asked.meters + 1)] * asked.buses,
        seed=asked.seed,
        recording=asked.recording,
        byte_time=not asked.no_byte_time,
        refresh_ms=asked.refresh_ms,
        parent=asked.parent,
    )
    run_simulator(asked.directory, options)


if __name__ == "__main__":
    main()
