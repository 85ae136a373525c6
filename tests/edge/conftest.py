"""A bench for the device: a broker that can be killed, a platform that can be silent, meters that keep a list."""

import os
import random
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from terang.edge.config import BusConfig, EdgeConfig, render_config
from terang.edge.keys import create_key
from terang.edge.state import read_state
from terang.values.envelope import LOST, READINGS, Envelope, decode_payload, device_id
from terang.values.receipt import CONTEXT, EpochReceipt, Receipt, encode_down
from terang.values.signing import KeyPair, open_statement, sign_statement

ANSWER = struct.Struct(">6q")
PROGRAM = Path(__file__).with_name("edge_program.py")
PATIENCE_S = 60.0


class Bell:
    """Something to wait on: every change rings it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()

    def ring(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def wait_for(self, what: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Return when `what` is true, asked at each ring and ten times a second; fail after the timeout."""
        deadline = time.monotonic() + timeout_s
        with self._condition:
            while not what():
                if time.monotonic() > deadline:
                    pytest.fail(f"not within {timeout_s} s: {what.__name__ if hasattr(what, '__name__') else what}")
                self._condition.wait(0.1)


class Meters:
    """Meters on any number of buses behind one Unix socket. `served[(bus, address)]` is their own list of frames."""

    def __init__(self, path: Path) -> None:
        self.bell = Bell()
        self.served: dict[tuple[int, int], list[int]] = defaultdict(list)
        self.answer: Callable[[int, int, int], bytes | None] = _usual
        self.on_served: Callable[[int], None] = lambda _total: None
        self.total = 0
        self._lock = threading.Lock()
        self.path = path
        meters = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    for line in self.rfile:
                        bus, address = map(int, line.split())
                        frame = meters.serve(bus, address)
                        if frame is not None:
                            self.wfile.write(frame)

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

        self._server = Server(str(path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def serve(self, bus: int, address: int) -> bytes | None:
        with self._lock:
            mine = self.served[(bus, address)]
            frame = self.answer(bus, address, len(mine))
            if frame is not None and len(frame) == ANSWER.size:
                mine.append(len(mine))
            self.total += 1
            total = self.total
        self.on_served(total)
        self.bell.ring()
        return frame

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _usual(_bus: int, _address: int, nth: int) -> bytes:
    """Frame `nth` of a meter; its energy is its number, so that no two are alike."""
    return ANSWER.pack(220_000, 500, 110_000, nth, 50_000, 1000)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A mosquitto with its non-durable defaults on a loopback port of its own."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.port = free_port()
        self._command = [str(program), "-c", str(folder / "mosquitto.conf")]
        (folder / "mosquitto.conf").write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return
            threading.Event().wait(0.02)
        pytest.fail("mosquitto did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Platform:
    """The platform's side: verifies, stores each envelope once, and answers with signed receipts."""

    def __init__(self, port: int, device_key: bytes, chance: random.Random) -> None:
        self.bell = Bell()
        self.key = KeyPair.generate()
        self.device = device_id(device_key)
        self.stored: dict[tuple[bytes, int], Envelope] = {}
        self.bytes_of: dict[tuple[bytes, int], bytes] = {}
        self.order: list[Envelope] = []
        self.duplicates = self.dropped = 0
        self.is_deaf, self.is_mute, self.drop_share, self.anchors = False, False, 0.0, True
        self._device_key, self._chance, self._port = device_key, chance, port
        self._lock = threading.Lock()
        self._client = self._connect()

    def _connect(self) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id="platform")
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda c, *_: c.subscribe("terang/v1/+/up", qos=1)
        client.on_message = lambda _c, _d, message: self.receive(bytes(message.payload))
        client.connect("127.0.0.1", self._port)
        client.loop_start()
        return client

    def receive(self, data: bytes) -> None:
        if self.is_deaf:
            return
        envelope = decode_payload(open_statement(self._device_key, data))
        name = (envelope.epoch, envelope.sequence)
        with self._lock:
            if self._chance.random() < self.drop_share:
                self.dropped += 1
                return
            if name in self.stored:
                self.duplicates += 1
                assert self.bytes_of[name] == data, "one identity, two envelopes"
            else:
                self.stored[name], self.bytes_of[name] = envelope, data
                self.order.append(envelope)
        self.bell.ring()
        if not self.is_mute:
            self.send(Receipt(self.device, (self.receipt_of(envelope.epoch),)))

    def receipt_of(self, epoch: bytes) -> EpochReceipt:
        with self._lock:
            here = {sequence for name, sequence in self.stored if name == epoch}
            for lost in self.lost():
                if lost.epoch == epoch:
                    here |= set(range(lost.first_sequence, lost.end_sequence))
        end = next(n for n in range(len(here) + 1) if n not in here)
        return EpochReceipt(epoch, end, end if self.anchors else 0)

    def send(self, message: object, *, key: KeyPair | None = None) -> None:
        self.publish(sign_statement(key or self.key, encode_down(message), CONTEXT))

    def publish(self, data: bytes) -> None:
        self._client.publish(f"terang/v1/{self.device.hex()}/down", data, qos=1)

    def lost(self) -> list:
        return [envelope.body for envelope in list(self.stored.values()) if envelope.kind == LOST]

    def bodies(self, kind: int) -> list[Envelope]:
        return [envelope for envelope in list(self.stored.values()) if envelope.kind == kind]

    def frames(self) -> dict[int, list[tuple[bytes, int]]]:
        """meter -> (epoch, number of the frame) of every stored reading."""
        found: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
        for envelope in self.bodies(READINGS):
            found[envelope.meter] += [(envelope.epoch, number) for number in envelope.body.columns[4]]
        return found

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Device:
    """The folder of a device and its program as a process that can be killed."""

    def __init__(self, folder: Path, config: EdgeConfig) -> None:
        self.folder, self.config = folder, config
        (folder / "device.toml").write_text(render_config(config))
        self.process: subprocess.Popen[str] | None = None
        self.log = folder / "stderr.txt"

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(self.folder / "device.toml")], stderr=log, text=True
            )

    def kill(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        """SIGTERM once the agent runs, and the exit code."""
        process = self.process
        assert process is not None
        Bell().wait_for(lambda: (read_state(self.folder) or {}).get("pid") == process.pid)
        process.terminate()
        code = process.wait(PATIENCE_S)
        self.process = None
        return code

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def broker(mosquitto_path: Path, tmp_path: Path) -> Iterator[Broker]:
    made = Broker(mosquitto_path, tmp_path)
    yield made
    made.kill()


@pytest.fixture
def meters(tmp_path: Path) -> Iterator[Meters]:
    made = Meters(tmp_path / "bus.socket")
    yield made
    made.close()


@pytest.fixture
def chance() -> random.Random:
    return random.Random(20251120)


@pytest.fixture
def bench(
    broker: Broker, meters: Meters, tmp_path: Path, chance: random.Random
) -> Iterator[Callable[..., tuple[Device, Platform]]]:
    """Makes a device and its platform, connected by the broker."""
    made: list[Device | Platform] = []

    def make(buses: int = 2, ports: str = "", addresses: int = 1, **settings: float) -> tuple[Device, Platform]:
        folder = tmp_path / "device"
        pair = create_key(folder / "device.key")
        platform = Platform(broker.port, pair.public, chance)
        config = EdgeConfig(
            folder=folder,
            broker_host="127.0.0.1",
            broker_port=broker.port,
            username=platform.device.hex(),
            password="secret",
            platform_key=platform.key.public,
            buses=tuple(
                BusConfig(
                    number=n, port=(ports or f"{meters.path}#") + str(n), addresses=tuple(range(1, addresses + 1))
                )
                for n in range(buses)
            ),
            clock="trust",
            **{"poll_s": 0.2, "record_s": 0.0, "envelope_s": 0.6, "resend_s": 2.0, **settings},  # type: ignore[arg-type]
        )
        device = Device(folder, config)
        made.extend((device, platform))
        return device, platform

    yield make
    for thing in made:
        if isinstance(thing, Device):
            thing.kill()
        else:
            thing.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("missing part: a small file system (only root may mount one)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
