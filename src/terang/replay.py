"""Publishes a recorded household as a signed device, as fast as the platform takes it, and compares the energy.

The file's minutes become readings of a meter whose counter is the integral of the recorded power, in whole watt-hours,
as a PZEM-004T would have counted. One closing reading follows, because a register confirms a step only when the next
reading agrees with it.
"""

import csv
import itertools
import math
import queue
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from terang.values import envelope, reading
from terang.values.errors import BrokerError, CodecError, SignatureError, UsageError
from terang.values.receipt import CONTEXT, Receipt, decode_down
from terang.values.signing import KeyPair, open_statement, sign_statement

__all__ = ["METER", "Minute", "Recording", "Sender", "read_recording"]

METER = 1
_ENVELOPE_READINGS = 60
_ENVELOPE_SPAN_MS = 3_600_000
_DAY_MS = 86_400_000
_WINDOW = 200
_PATIENCE_S = 60.0
_RESEND_S = 5.0
_MWH_A_WH = 1000


class Minute(NamedTuple):
    """One row of the file: UTC, voltage [mV], current [mA], power [mW], power factor [permille]."""

    time_ms: int
    voltage_mv: int
    current_ma: int
    power_mw: int
    power_factor_permille: int


@dataclass(frozen=True, slots=True)
class Recording:
    """The minutes of a file that have values, and what they use: `energy_wh` is the integral of the power in whole Wh,
    `empty_rows` had no values.
    """

    minutes: list[Minute]
    counters_wh: list[int]
    empty_rows: int

    @property
    def energy_wh(self) -> int:
        """What the counter has counted at the last minute."""
        return self.counters_wh[-1] - self.counters_wh[0]

    def ending_before(self, now_ms: int) -> "Recording":
        """The same at the same times of day, moved by whole days so that it ends within the day before `now_ms`.

        A platform refuses readings from before it existed: to it they come from a clock that was never set.
        """
        shift = (now_ms - self.minutes[-1].time_ms) // _DAY_MS * _DAY_MS
        moved = [minute._replace(time_ms=minute.time_ms + shift) for minute in self.minutes]
        return Recording(moved, self.counters_wh, self.empty_rows)


def read_recording(path: Path) -> Recording:
    """A CSV with the columns ts, v, i_a, p_kw, q_kvar (UCI household) or time, power_w; UsageError names the bad row.

    Each row's power counts until the next row. Integer arithmetic: the energy is exact, floored to Wh at each row.
    """
    minutes: list[Minute] = []
    empty = 0
    try:
        with path.open(newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                minute = _minute(row, path, number)
                if minute is None:
                    empty += 1
                else:
                    minutes.append(minute)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if len(minutes) < 2:  # noqa: PLR2004  one moment is no use of energy
        raise UsageError(f"{path} has fewer than two rows with values; it needs the columns ts, v, i_a, p_kw, q_kvar")
    counters, energy = [0], 0
    for before, after in itertools.pairwise(minutes):
        if after.time_ms <= before.time_ms:
            raise UsageError(f"{path}: the times must rise; {after.time_ms} follows {before.time_ms}")
        energy += before.power_mw * (after.time_ms - before.time_ms)  # mW ms
        counters.append(energy // 3_600_000 // _MWH_A_WH)
    return Recording(minutes, counters, empty)


def _minute(row: dict[str, str], path: Path, number: int) -> Minute | None:
    try:
        if "power_w" in row:
            time_ms, power_w = _time_ms(row["time"]), float(row["power_w"])
            voltage, current, factor = float(row.get("voltage") or 230), 0.0, 1.0
        else:
            if not row["p_kw"] or not row["v"]:
                return None
            time_ms, power_w = _time_ms(row["ts"]), float(row["p_kw"]) * 1000
            reactive = float(row.get("q_kvar") or 0) * 1000
            voltage, current = float(row["v"]), float(row.get("i_a") or 0)
            factor = power_w / max(1.0, math.hypot(power_w, reactive))
        values = (round(value * 1000) for value in (voltage, current, power_w, min(1.0, factor)))
        return Minute(time_ms, *values)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"{path}, row {number}: {error!r}; the columns ts, v, i_a, p_kw, q_kvar are needed") from error


def _time_ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


class Sender:
    """A device that sends a recording: signs, keeps to a window, sends again what has no receipt."""

    def __init__(self, *, key: KeyPair, password: str, platform_key: bytes, host: str, port: int) -> None:
        self._key = key
        self._platform_key = platform_key
        self._device = envelope.device_id(key.public)
        self._epoch = secrets.token_bytes(8)
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._stored = 0
        self._where = f"{host}:{port}"
        name = self._device.hex()
        self._up = f"terang/v1/{name}/up"
        client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=True)
        client.username_pw_set(name, password)
        client.max_inflight_messages_set(_WINDOW)
        client.on_connect = lambda client, *_: client.subscribe(f"terang/v1/{name}/down", qos=1)
        client.on_message = self._on_message
        self._client = client
        try:
            client.connect(host, port)
        except OSError as error:
            raise BrokerError(f"the broker at {self._where} cannot be reached: {error}") from error
        client.loop_start()

    def send(self, recording: Recording, progress: Callable[[int, int], None], speed: float | None = None) -> None:
        """Publish all of it and wait until it is stored; `speed` is times faster than life, None as fast as it goes."""
        sealed = list(self._envelopes(recording))
        sent, moved_s = 0, time.monotonic()
        begun_s, first_ms = time.monotonic(), recording.minutes[0].time_ms
        while self._stored < len(sealed):
            before = self._stored
            self._listen()
            now_s = time.monotonic()
            if self._stored > before:
                moved_s = now_s
                progress(self._stored, len(sealed))
            elif now_s - moved_s > _PATIENCE_S:
                raise BrokerError(f"no receipt came for {_PATIENCE_S:.0f} s from the platform at {self._where}")
            elif sent > self._stored and now_s - moved_s > _RESEND_S:
                sent = self._stored
                moved_s = now_s
            while sent < len(sealed) and sent - self._stored < _WINDOW:
                data, last_ms = sealed[sent]
                if speed is not None and (last_ms - first_ms) / 1000 > (now_s - begun_s) * speed:
                    break
                self._client.publish(self._up, data, qos=1)
                sent += 1
        progress(len(sealed), len(sealed))

    def close(self) -> None:
        """Say goodbye to the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def _envelopes(self, recording: Recording) -> Iterator[tuple[bytes, int]]:
        """(signed bytes, time of the last reading); a closing reading lets the register confirm the last step."""
        minutes, counters = list(recording.minutes), list(recording.counters_wh)
        minutes.append(minutes[-1]._replace(time_ms=minutes[-1].time_ms + 1000))
        counters.append(counters[-1])
        previous, begin_ms = envelope.FIRST_PREVIOUS, minutes[0].time_ms
        for number, (begin, end) in enumerate(_cuts(minutes)):
            part = minutes[begin:end]
            base_ms = part[0].time_ms
            columns = {
                1: tuple(minute.voltage_mv for minute in part),
                2: tuple(minute.current_ma for minute in part),
                3: tuple(minute.power_mw for minute in part),
                4: tuple(counter * _MWH_A_WH for counter in counters[begin:end]),
                5: (50_000,) * len(part),
                6: tuple(minute.power_factor_permille for minute in part),
            }
            body = reading.Readings(tuple(minute.time_ms - base_ms for minute in part), columns)
            head = (envelope.READINGS, self._device, self._epoch, number, previous, METER, 0)
            fields = envelope.Envelope(*head, base_ms - begin_ms, base_ms, reading.CLOCK_SYNCED, body)
            data = sign_statement(self._key, envelope.encode_payload(fields))
            previous = envelope.envelope_hash(data)
            yield data, part[-1].time_ms

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._heard.put(bytes(message.payload))

    def _listen(self) -> None:
        try:
            data = self._heard.get(timeout=0.05)
        except queue.Empty:
            return
        try:
            message = decode_down(open_statement(self._platform_key, data, CONTEXT))
        except (CodecError, SignatureError):
            return  # not signed by the platform: it changes nothing
        if isinstance(message, Receipt) and message.device == self._device:
            for known in message.epochs:
                if known.epoch == self._epoch:
                    self._stored = max(self._stored, known.stored_end)


def _cuts(minutes: list[Minute]) -> Iterator[tuple[int, int]]:
    """Where envelopes begin and end: at most sixty readings, and never over an hour, which no envelope may span."""
    begin = 0
    for at in range(1, len(minutes) + 1):
        if (
            at == len(minutes)
            or at - begin == _ENVELOPE_READINGS
            or minutes[at].time_ms - minutes[begin].time_ms >= _ENVELOPE_SPAN_MS
        ):
            yield begin, at
            begin = at
