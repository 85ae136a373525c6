"""A house as it really runs: `terang serve` as a tree of processes, `terang edge` and simulated meters beside it.

Every process here was started by its test, is known by its number, and is ended by that number alone.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terang.app import open_pages
from terang.edge.config import BusConfig, EdgeConfig, render_config
from terang.edge.keys import create_key
from terang.kits.meter.simulator import Served, served
from terang.serve.pages import Pages
from terang.settings import Settings, load_settings
from terang.values.clock import SystemClock
from terang.values.command import AdoptDevice, Command, Done
from terang.web.core import CoreClient

__all__ = ["BIN", "Edge", "House", "Meters", "Program", "all_ended", "check_speech", "free_port", "kill", "until"]

BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
FRESH_MS = 2000
LINE = 300
_ports: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on and that no other house of this run was given."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _ports:
            _ports.add(port)
            return port


def until(what: str, condition: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
    """Return when the condition holds; fail, saying what was waited for, when it does not in time."""
    begun_s = time.monotonic()
    while not condition():
        assert time.monotonic() < begun_s + limit_s, f"not within {limit_s:g} s: {what}"
        threading.Event().wait(0.05)
    print(f"{time.monotonic() - begun_s:6.2f} s for {what}")


@dataclass
class Program:
    """One process with what it says on standard error kept in a file, over all its lives."""

    name: str
    command: list[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start it in a session of its own, so that a signal to the tests is none to it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **self.environment}
            )

    @property
    def pid(self) -> int:
        """The number of the process that runs."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def end(self, limit_s: float = PATIENCE_S) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit_s)

    def kill_tree(self) -> None:
        """-9 for it and all that came of it."""
        if self.process is not None and self.process.poll() is None:
            below = descendants(self.process.pid)
            self.process.kill()
            for pid in below:
                kill(pid)
            self.process.wait()

    def said(self) -> str:
        """Everything that it and its children have said."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def kill(pid: int) -> None:
    """-9, for a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Of one process, as the kernel lists them."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    found = children(pid)
    for child in list(found):
        found += descendants(child)
    return found


def words(pid: int) -> str:
    """The command line of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def open_files(pid: int) -> list[str]:
    """What a process has open."""
    found = []
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            found.append(str(path.readlink()))
    return found


class House:
    """A platform in `data` on ports of its own. `more` are lines for its terang.toml."""

    def __init__(self, data: Path, *, broker: str = "mosquitto", anchor_s: int = 1, more: str = "") -> None:
        self.data = data
        data.mkdir(parents=True, exist_ok=True)
        ports = {name: free_port() for name in ("broker_port", "web_port", "rpc_port")}
        lines = [f'broker = "{broker}"', f"anchor_s = {anchor_s}"]
        lines += [f"{name} = {port}" for name, port in ports.items()]
        (data / "terang.toml").write_text("\n".join(lines) + "\n" + more)
        self.settings: Settings
        self.reload()
        command = [str(BIN / "terang"), "serve", "--data", str(data)]
        self.serve = Program("serve", command, data.parent / f"{data.name}.serve.log")
        self._core = CoreClient(self.settings.socket_path)
        self._pages: Pages | None = None

    def reload(self) -> None:
        """Take the settings from the file again."""
        self.settings = load_settings(self.data, {})

    def start(self) -> None:
        """Start it, and wait until the core answers."""
        self.serve.start()
        until("the core to answer", self._has_answered)

    def _has_answered(self) -> bool:
        assert self.serve.is_up, f"the platform ended by itself: {self.serve.said()}"
        return self.settings.socket_path.exists() and self.core_pid() is not None and self._answers()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.settings.socket_path))
            return True
        return False

    def core_pid(self) -> int | None:
        """The core's process: it writes its number into the store's lock."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.data / "store.lock").read_text())
            return pid if pid in children(self.serve.pid) else None
        return None

    def ledger_pid(self) -> int | None:
        """The ledger's process: what the core has started."""
        core = self.core_pid()
        chain = str(self.settings.chain_dir)
        for pid in children(core) if core else []:
            if any(name.startswith(chain) for name in open_files(pid)):
                return pid
        return None

    def kill_checkers(self) -> None:
        """-9 for the process that helps the core with many signatures, if there is one now."""
        core, ledger = self.core_pid(), self.ledger_pid()
        for pid in children(core) if core else []:
            if pid != ledger and "spawn_main" in words(pid):
                kill(pid)

    def mosquitto_pid(self) -> int | None:
        """The broker."""
        found = [pid for pid in descendants(self.serve.pid) if "mosquitto" in words(pid).split(" ")[0]]
        return found[0] if found else None

    def ask(self, command: Command) -> dict[str, str]:
        """What the core answers."""
        answer = asyncio.run(self._core.ask("cli", command))
        assert isinstance(answer, Done), answer
        return answer.value

    def close_pages(self) -> None:
        """Let go of the store: whoever copies a file that SQLite has open here would undo its locks."""
        if self._pages is not None:
            self._pages._log.close()
            self._pages._local.db.close()
            self._pages = None

    @property
    def pages(self) -> Pages:
        """What the pages read."""
        if self._pages is None:
            self._pages = open_pages(self.settings)
        return self._pages

    def one(self, sql: str, *values: object) -> int:
        """A number from the store; 0 where there is none."""
        found = self.pages.rows(sql, values)[0][0]
        return int(found or 0)

    def stored(self) -> int:
        """How many readings are stored."""
        return self.one("SELECT sum(readings) FROM latest")

    def epochs(self, device: str) -> list[tuple[Any, ...]]:
        """(epoch, stored end, anchored end) of a device."""
        return self.pages.rows(
            "SELECT epoch, stored_end, anchored_end FROM epoch JOIN device d ON d.id = device_id WHERE d.key_id=?",
            (bytes.fromhex(device),),
        )

    def is_fresh_of(self, device: str, since_ms: int) -> Callable[[], bool]:
        """Asks whether every meter of this device has a reading of after that time."""
        return lambda: (
            self.one(
                "SELECT min(l.time_ms) FROM latest l JOIN meter m ON m.id = l.meter_id"
                " JOIN device d ON d.id = m.device_id WHERE d.key_id=?",
                bytes.fromhex(device),
            )
            > since_ms
        )

    def is_fresh(self) -> bool:
        """Whether every meter has a reading of the last two seconds."""
        return self.one("SELECT min(time_ms) FROM latest") > SystemClock().now_ms() - FRESH_MS

    def end(self, limit_s: float = PATIENCE_S) -> float:
        """SIGTERM; how long it took [s]. Fails, saying who is left, when it takes longer than the limit."""
        begun_s = time.monotonic()
        roles = {self.core_pid(): "core", self.ledger_pid(): "ledger", self.mosquitto_pid(): "mosquitto"}
        roles |= {pid: "another child" for pid in children(self.serve.pid) if pid not in roles}
        assert self.serve.process is not None
        self.serve.process.send_signal(signal.SIGTERM)
        try:
            assert self.serve.process.wait(limit_s) == 0, self.serve.said()
        except subprocess.TimeoutExpired:
            left = {roles.get(pid, "a new one"): words(pid) for pid in descendants(self.serve.pid)}
            raise AssertionError(f"not ended within {limit_s:g} s: {left}; {self.serve.said()}") from None
        return time.monotonic() - begun_s

    def is_all_anchored(self) -> bool:
        """Whether every record stands on the chain."""
        ledger = self.pages.ledger()
        return ledger.size == ledger.anchored_size

    def paused(self) -> str | None:
        """Why anchoring waits."""
        return self.pages.ledger().paused

    def adopt(self, public_key: bytes, name: str = "a device") -> dict[str, str]:
        """Adopt a device; its login."""
        return self.ask(AdoptDevice(public_key=public_key.hex(), name=name))


class Meters:
    """Simulated meters in a process of their own: `buses` lines with `each` meters, at 9600 bit/s as real ones are."""

    def __init__(self, folder: Path, *, buses: int, each: int = 1, seed: int = 7) -> None:
        self.folder, self.buses, self.each = folder, buses, each
        command = [sys.executable, "-m", "terang.kits.meter.simulator", str(folder)]
        command += ["--buses", str(buses), "--meters", str(each), "--seed", str(seed), "--parent", str(os.getpid())]
        self.program = Program("meters", command, folder.parent / "meters.log")

    def start(self) -> None:
        """Start it, and wait until all lines stand."""
        self.program.start()
        until("the simulated meters", (self.folder / "ready.json").exists)

    def served(self) -> list[Served]:
        """Their own list of answers."""
        return served(self.folder / "served.bin")

    def served_by_meter(self) -> dict[int, list[Served]]:
        """The right answers of each meter, by the number under which its device speaks of it."""
        found: dict[int, list[Served]] = {}
        for item in self.served():
            if item.fault == 0:
                line = BusConfig(number=item.bus, port="", addresses=(item.address,))
                found.setdefault(line.meter(item.address), []).append(item)
        return found

    def put_fault(self, kind: str, *, bus: int = 0, address: int = 1, count: int = 1) -> None:
        """Let something go wrong with the next answers of a meter."""
        with (self.folder / "faults.jsonl").open("a") as file:
            file.write(f'{{"bus": {bus}, "address": {address}, "kind": "{kind}", "count": {count}}}\n')


class Edge:
    """The device's agent as a person starts it."""

    def __init__(
        self, folder: Path, house: House, meters: Meters, *, pace: dict[str, float], broker_port: int = 0
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        key = create_key(folder / "device.key")
        answer = house.adopt(key.public, "the cupboard")
        self.id, self.password, self.public_key = answer["device"], answer["password"], key.public
        addresses = tuple(range(1, meters.each + 1))
        self.config = EdgeConfig(
            folder=folder,
            broker_host="127.0.0.1",
            broker_port=broker_port or house.settings.broker_port,
            username=self.id,
            password=self.password,
            platform_key=bytes.fromhex(answer["platform_key"]),
            buses=tuple(
                BusConfig(number=n, port=str(meters.folder / f"bus{n}"), addresses=addresses)
                for n in range(meters.buses)
            ),
            clock="trust",
            **pace,  # type: ignore[arg-type]
        )
        self.configure(self.config)
        command = [str(BIN / "terang"), "edge", "--folder", str(folder)]
        self.program = Program("edge", command, folder.parent / f"{folder.name}.edge.log")

    def configure(self, config: EdgeConfig) -> None:
        """What it reads at its next start."""
        (self.folder / "device.toml").write_text(render_config(config))

    def outbox(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows from the outbox of an agent that does not run: while it does, nobody else may look in."""
        assert not self.program.is_up
        with contextlib.closing(sqlite3.connect(self.folder / "outbox.sqlite")) as db:
            return db.execute(sql).fetchall()

    def made(self) -> dict[bytes, int]:
        """Of every epoch how many envelopes were sealed."""
        return {bytes(row[0]): int(row[1]) for row in self.outbox("SELECT epoch, next_sequence FROM epoch")}

    def is_delivered(self, house: House) -> bool:
        """Whether the platform has stored every envelope that was ever sealed here."""
        theirs = {bytes(row[0]): row[1] for row in house.epochs(self.id)}
        return all(theirs.get(epoch, 0) >= end for epoch, end in self.made().items())

    def end_delivered(self, house: House) -> None:
        """End it cleanly once it has caught up. What it could not deliver goes out when it is started again."""
        for _ in range(3):
            until("the newest reading of every meter", house.is_fresh)
            assert self.program.end() == 0, self.program.said()
            with contextlib.suppress(AssertionError):
                until("the device's last envelopes", lambda: self.is_delivered(house), 10)
                return
            self.program.start()
        raise AssertionError("the device never delivered its last envelopes")


@contextlib.contextmanager
def all_ended(*programs: Program) -> Iterator[None]:
    """However the block ends, these and all that came of them end with it."""
    try:
        yield
    finally:
        for program in programs:
            program.kill_tree()


def check_speech(*programs: Program) -> None:
    """Nobody spoke in tracebacks, and no line is longer than a person reads."""
    for program in programs:
        said = program.said()
        print(f"--- {program.name} said:\n{said}")
        for word in ("Traceback", "panicked", "Exception", "core dumped"):
            assert word not in said, f"{program.name} speaks of {word}: {said}"
        assert all(len(line) < LINE for line in said.splitlines()), f"{program.name}: {said}"
