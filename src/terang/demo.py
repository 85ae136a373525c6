"""The whole product on one machine: the platform, a simulated boarding house of six rooms, and its device."""

import asyncio
import json
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from terang.app import open_pages
from terang.delivery import Delivery, compare
from terang.edge.agent import KEY_FILE
from terang.edge.config import BusConfig, EdgeConfig, load_config, render_config
from terang.edge.keys import create_key
from terang.keyring import Keyring
from terang.kits.meter.simulator import SOUND, SimulatorOptions, served
from terang.serve.house import platform
from terang.serve.pages import Pages
from terang.serve.supervisor import Child, Supervisor
from terang.settings import Settings
from terang.values.command import AddRoom, AddUser, AdoptDevice, Command, Done, PlaceMeter, StartTenancy, Watch
from terang.values.errors import CoreError, TerangError
from terang.values.quantity import QUANTITIES
from terang.web.core import CoreClient
from terang.web.passwords import hash_password

__all__ = ["Demo", "DemoResult", "free_port"]

_ROOMS = 6
_START_S = 60.0
_FINISH_S = 30.0
_POLL_S = 0.1
_CODES = tuple(quantity.code for quantity in QUANTITIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What a demo that ended did: readings `served` by the meters, `readings` stored, `committed` records on the chain
    in so many `blocks`, `lost` and `invented` readings.
    """

    served: int
    readings: int
    committed: int
    blocks: int
    lost: int
    invented: int


def free_port(wanted: int) -> int:
    """`wanted`, or the next port that nobody listens on."""
    for port in range(wanted, wanted + 200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise TerangError(f"no port from {wanted} to {wanted + 199} is free")


class Demo:
    """One demo in one data directory; started again, it goes on where it stopped."""

    def __init__(self, settings: Settings, keyring: Keyring, *, seed: int = 1) -> None:
        self.settings = settings
        self._meters = settings.data / "meters"
        self._device = settings.data / "device"
        self._core = CoreClient(settings.socket_path)
        self._platform = platform(settings, keyring)
        self._seed = seed
        self.supervisor: Supervisor = self._platform

    def start(self) -> dict[str, str]:
        """Start everything; the logins by name, once all rooms are live."""
        simulator = SimulatorOptions(buses=[list(range(1, _ROOMS + 1))], seed=self._seed, byte_time=False)
        self.supervisor.children.append(Child("meters", "terang.simulated:run_meters", (self._meters, simulator)))
        self.supervisor.start()
        self._wait("the core to answer", self._core_answers)
        logins = self._people_and_rooms()
        self._adopt()
        edge = Child("device", "terang.simulated:run_device", (self._device,))
        self.supervisor.children.append(edge)
        edge.start()
        self._wait("the first reading of each room", lambda: self._anchored_rooms() >= _ROOMS)
        return logins

    def run(self, seconds: float | None) -> None:
        """Go on for so long, or until a signal comes."""
        end_s = None if seconds is None else time.monotonic() + seconds
        self.supervisor.watch(until=lambda: end_s is not None and time.monotonic() >= end_s)

    def finish(self) -> DemoResult:
        """End the device, then the platform once all that the device sent is on the chain; compare."""
        self.supervisor.end("device")
        try:
            self._wait("the last reading to be anchored", self._all_anchored, _FINISH_S)
        finally:
            self.supervisor.stop()
        return self.result()

    def result(self) -> DemoResult:
        """Compare what the meters served with what is stored."""
        pages = open_pages(self.settings)
        delivery = self._delivery(pages)
        ledger = pages.ledger()
        return DemoResult(
            served=delivery.served,
            readings=delivery.stored,
            committed=ledger.anchored_size,
            blocks=ledger.head_number or 0,
            lost=delivery.lost,
            invented=delivery.invented,
        )

    def _delivery(self, pages: Pages) -> Delivery:
        answers: dict[int, list[tuple[int, ...]]] = {}
        for item in served(self._meters / "served.bin"):
            if item.fault == SOUND:
                meter = BusConfig(number=item.bus, port="", addresses=(item.address,)).meter(item.address)
                answers.setdefault(meter, []).append(item.values)
        total = Delivery(0, 0, 0, 0)
        device = load_config(self._device / "device.toml").username
        for meter_id, address in pages.rows(
            "SELECT m.id, m.address FROM meter m JOIN device d ON d.id = m.device_id WHERE d.key_id=?",
            (bytes.fromhex(device),),
        ):
            total += compare(answers.pop(address, []), pages.all_values(meter_id))
        for unheard in answers.values():
            total += compare(unheard, [])
        return total

    def _people_and_rooms(self) -> dict[str, str]:
        path = self.settings.data / "logins.json"
        if path.exists():
            logins: dict[str, str] = json.loads(path.read_text())
            return logins
        logins = {"pemilik": secrets.token_urlsafe(6)}
        logins |= {f"kamar{number}": secrets.token_urlsafe(6) for number in range(1, _ROOMS + 1)}
        for name, password in logins.items():
            role = "owner" if name == "pemilik" else "tenant"
            self._ask(AddUser(name=name, password_hash=hash_password(password), role=role))
        for number in range(1, _ROOMS + 1):
            self._ask(AddRoom(name=f"Kamar {number}"))
            self._ask(StartTenancy(room=f"Kamar {number}", user=f"kamar{number}"))
        path.touch(mode=0o600)
        path.write_text(json.dumps(logins))
        return logins

    def _adopt(self) -> None:
        """Adopt the device at the first start; later only tell it where broker and meters are today."""
        path = self._device / "device.toml"
        if path.exists():
            config = replace(load_config(path), broker_port=self.settings.broker_port)
            moved = tuple(replace(bus, port=str(self._meters / f"bus{bus.number}")) for bus in config.buses)
            config = replace(config, buses=moved)
        else:
            self._device.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = create_key(self._device / KEY_FILE)
            answer = self._ask(AdoptDevice(public_key=key.public.hex(), name="Raspberry Pi (simulasi)"))
            bus = BusConfig(number=0, port=str(self._meters / "bus0"), addresses=tuple(range(1, _ROOMS + 1)))
            config = EdgeConfig(
                folder=self._device,
                broker_host="127.0.0.1",
                broker_port=self.settings.broker_port,
                username=answer["device"],
                password=answer["password"],
                platform_key=bytes.fromhex(answer["platform_key"]),
                buses=(bus,),
                record_s=1.0,
                envelope_s=1.0,
                clock="trust",
            )
            for number in range(1, _ROOMS + 1):
                self._ask(PlaceMeter(device=answer["device"], address=bus.meter(number), room=f"Kamar {number}"))
        path.touch(mode=0o600)
        path.write_text(render_config(config))

    def _ask(self, command: Command) -> dict[str, str]:
        answer = asyncio.run(self._core.ask("cli", command))
        if not isinstance(answer, Done):
            raise TerangError(f"the core refused to set the demo up: {answer.reason}")
        return answer.value

    def _core_answers(self) -> bool:
        try:
            asyncio.run(self._core.ask("cli", Watch()))
        except CoreError:
            return False
        return True

    def _anchored_rooms(self) -> int:
        pages = open_pages(self.settings)
        return sum(
            1
            for (meter_id,) in pages.rows("SELECT id FROM meter")
            if any(row.block_hash for row in pages.readings(meter_id, None, 5))
        )

    def _all_anchored(self) -> bool:
        pages = open_pages(self.settings)
        ledger = pages.ledger()
        return ledger.anchored_size == ledger.size

    def _wait(self, what: str, done: Callable[[], bool], limit_s: float = _START_S) -> None:
        end_s = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > end_s:
                raise TerangError(f"gave up waiting for {what} after {limit_s:.0f} s; what was said above may tell why")
            self.supervisor.look()
            time.sleep(_POLL_S)
