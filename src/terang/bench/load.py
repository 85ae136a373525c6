"""The load of a bench: envelopes signed beforehand, and a process that publishes them as fast as, or when, told."""

import multiprocessing
import selectors
import socket
import struct
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import NamedTuple

from terang.ingest.packets import connect, publish
from terang.values import envelope, reading
from terang.values.errors import BrokerError
from terang.values.signing import KeyPair, sign_statement

__all__ = ["BenchDevice", "Published", "Publisher", "make_envelopes"]

_WINDOW = 400
_CHUNK = 50
_PUBACK = 0x40
_STEP_MS = 1000


@dataclass(slots=True)
class BenchDevice:
    """A device of the bench with its login; `sequence` and `counter_mwh` go on from run to run."""

    key: KeyPair
    password: str
    epoch: bytes
    sequence: int = 0
    counter_mwh: int = 0
    previous: bytes = field(default=envelope.FIRST_PREVIOUS)

    @property
    def name(self) -> str:
        """Its name at the broker."""
        return envelope.device_id(self.key.public).hex()


def make_envelopes(
    device: BenchDevice, count: int, readings: int, begin_ms: int, step_ms: int = _STEP_MS
) -> list[bytes]:
    """`count` envelopes of `readings` readings each, `step_ms` apart, as the device would sign them."""
    made = []
    for index in range(count):
        power = [150_000 + (device.sequence * 37 + i * 7919) % 400_000 // 100 * 100 for i in range(readings)]
        counters = []
        for value in power:
            device.counter_mwh += value * step_ms // 3_600_000
            counters.append(device.counter_mwh // 1000 * 1000)
        columns = {
            1: tuple(227_000 + (p // 100 * 13) % 40 * 100 for p in power),
            2: tuple(p * 1000 // 228_000 for p in power),
            3: tuple(power),
            4: tuple(counters),
            5: (50_000,) * readings,
            6: tuple(900 + p // 1000 % 100 for p in power),
        }
        at_ms = index * readings * step_ms
        body = reading.Readings(tuple(range(0, readings * step_ms, step_ms)), columns)
        said = envelope.Envelope(
            kind=envelope.READINGS,
            device=envelope.device_id(device.key.public),
            epoch=device.epoch,
            sequence=device.sequence,
            previous=device.previous,
            meter=1,
            attested_by=0,
            uptime_ms=begin_ms % (1 << 32) + at_ms,
            utc_ms=begin_ms + at_ms,
            clock=reading.CLOCK_SYNCED,
            body=body,
        )
        data = sign_statement(device.key, envelope.encode_payload(said))
        device.previous = envelope.envelope_hash(data)
        device.sequence += 1
        made.append(data)
    return made


class Published(NamedTuple):
    """When publishing began and ended, in seconds of the monotonic clock, and when each message went out, in order."""

    begun_s: float
    ended_s: float
    times_s: list[float]


@dataclass(slots=True)
class _Line:
    sock: socket.socket
    packets: list[bytes]
    at: int = 0
    acked: int = 0
    waiting: bytes = b""
    head: bytes = b""


class Publisher:
    """A process of its own that publishes what it was given, over one connection a device, at QoS 1."""

    def __init__(self, port: int, devices: list[BenchDevice], envelopes: list[list[bytes]], rate: float | None) -> None:
        ours, theirs = multiprocessing.Pipe()
        self._pipe = ours
        logins = [(device.name, device.password) for device in devices]
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_publish, args=(port, logins, envelopes, rate, theirs))
        self._process.start()
        ours.recv()

    def go(self) -> None:
        """Begin now."""
        self._pipe.send("go")

    def done(self) -> Published:
        """Wait until the broker has acknowledged all."""
        result: Published = self._pipe.recv()
        self._process.join()
        return result


def _publish(
    port: int,
    logins: list[tuple[str, str]],
    envelopes: list[list[bytes]],
    rate: float | None,
    pipe: "Connection[object, object]",
) -> None:
    lines = []
    for (name, password), messages in zip(logins, envelopes, strict=True):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(connect(client_id=f"bench-{name}", username=name, password=password, keepalive_s=0, clean=True))
        if sock.recv(4)[3:] != b"\x00":
            raise BrokerError("the broker refused a device of the bench")
        sock.setblocking(False)
        topic = f"terang/v1/{name}/up"
        packets = [publish(topic, data, 1 + i % 65535) for i, data in enumerate(messages)]
        lines.append(_Line(sock, packets))
    pipe.send("ready")
    pipe.recv()
    pipe.send(_flood(lines) if rate is None else _pace(lines, rate))


def _flood(lines: list[_Line]) -> Published:
    """As fast as the broker takes them, with a window of unacknowledged ones."""
    begun = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for line in lines:
            selector.register(line.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, line)
        open_lines = len(lines)
        while open_lines:
            for key, events in selector.select():
                line = key.data
                if events & selectors.EVENT_READ:
                    _read_acks(line)
                if events & selectors.EVENT_WRITE:
                    _write(line)
                wants = selectors.EVENT_READ
                if line.waiting or (line.at < len(line.packets) and line.at - line.acked < _WINDOW):
                    wants |= selectors.EVENT_WRITE
                if line.acked >= len(line.packets):
                    selector.unregister(line.sock)
                    open_lines -= 1
                elif wants != key.events:
                    selector.modify(line.sock, wants, line)
    return Published(begun, time.monotonic(), [])


def _write(line: _Line) -> None:
    if not line.waiting:
        end = min(line.at + _CHUNK, len(line.packets), line.acked + _WINDOW)
        line.waiting = b"".join(line.packets[line.at : end])
        line.at = max(line.at, end)
    if line.waiting:
        line.waiting = line.waiting[line.sock.send(line.waiting) :]


def _read_acks(line: _Line) -> None:
    try:
        data = line.head + line.sock.recv(65536)
    except BlockingIOError:
        return
    whole = len(data) // 4 * 4
    line.acked += sum(1 for (first,) in struct.iter_unpack(">Bxxx", data[:whole]) if first == _PUBACK)
    line.head = data[whole:]


def _pace(lines: list[_Line], rate: float) -> Published:
    """One message after another, `rate` a second, in turn over the lines."""
    longest = max(len(line.packets) for line in lines)
    order = [(line, i) for i in range(longest) for line in lines if i < len(line.packets)]
    times = []
    begun = time.monotonic()
    for number, (line, i) in enumerate(order):
        due = begun + number / rate
        while (now := time.monotonic()) < due:
            time.sleep(min(0.001, due - now))
        times.append(time.monotonic())
        line.sock.setblocking(True)
        line.sock.sendall(line.packets[i])
        line.sock.setblocking(False)
        if i % 50 == 0:
            _read_acks(line)
    return Published(begun, time.monotonic(), times)
