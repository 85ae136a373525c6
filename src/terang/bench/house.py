"""A platform for a bench: real mosquitto, real core and ledger processes, in a directory of its own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from terang.bench.load import BenchDevice
from terang.demo import free_port
from terang.kits_installed import load_kits
from terang.pipeline import Pipeline
from terang.serve.house import platform, prepare
from terang.serve.supervisor import Supervisor
from terang.settings import Settings
from terang.store.log_reader import LogReader
from terang.store.writer import StoreWriter
from terang.values.clock import SystemClock
from terang.values.command import AdoptDevice, Ask, Done
from terang.values.errors import TerangError
from terang.values.signing import KeyPair

__all__ = ["House", "running_house"]

_START_S = 60.0


class House:
    """A running platform whose log can be watched."""

    def __init__(self, settings: Settings, devices: list[BenchDevice], supervisor: Supervisor) -> None:
        self.settings = settings
        self.devices = devices
        self._supervisor = supervisor
        self.log = LogReader(settings.store_path)

    def wait(self, what: str, done: Callable[[], bool], limit_s: float, every_s: float = 0.005) -> float:
        """When `done` came true [s, monotonic]; TerangError if that took too long."""
        end_s = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > end_s:
                raise TerangError(f"the bench gave up waiting for {what} after {limit_s:.0f} s")
            self._supervisor.look()
            time.sleep(every_s)
        return time.monotonic()


@contextmanager
def running_house(directory: Path, *, devices: int, anchor_s: int) -> Iterator[House]:
    """A platform with so many adopted devices; ended at the end."""
    settings = Settings(
        data=directory,
        broker="mosquitto",
        broker_port=free_port(21883),
        web_port=free_port(28080),
        rpc_port=0,
        anchor_s=anchor_s,
    )
    keyring = prepare(settings)
    adopted = _adopt(settings, keyring.platform, devices)
    prepare(settings)
    supervisor = platform(settings, keyring)
    supervisor.children = [child for child in supervisor.children if child.name != "web"]
    supervisor.start()
    house = House(settings, adopted, supervisor)
    try:
        house.wait("the platform", lambda: house.log.site("ledger") is not None, _START_S)
        yield house
    finally:
        supervisor.stop()
        house.log.close()


def _adopt(settings: Settings, key: KeyPair, count: int) -> list[BenchDevice]:
    writer = StoreWriter(settings.store_path)
    try:
        pipeline = Pipeline(writer=writer, kits=load_kits(), key=key, clock=SystemClock())
        devices = []
        for number in range(count):
            pair = KeyPair.generate()
            command = AdoptDevice(public_key=pair.public.hex(), name=f"bench {number}")
            answer = pipeline.execute(Ask(by="cli", command=command))
            if not isinstance(answer, Done):
                raise TerangError(answer.reason)
            devices.append(BenchDevice(pair, answer.value["password"], number.to_bytes(8, "big")))
    finally:
        writer.close()
    return devices


