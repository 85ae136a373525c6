"""The device's program: reads every bus, keeps and signs what it reads, and delivers it until it is anchored."""

import random
import re
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from terang.edge.bus_reader import BusReader, MeterKind, Pace
from terang.edge.config import EdgeConfig
from terang.edge.keys import HeldKey, is_held
from terang.edge.link import Link, LinkSettings, Login
from terang.edge.outbox import Outbox, Promise
from terang.edge.platform_word import PlatformWord
from terang.edge.pzem import PZEM
from terang.edge.state import StateBoard, describe_state
from terang.edge.time_source import CalendarSource, TimeSource, Uptime, is_kernel_synced
from terang.values.clock import Clock, SystemClock
from terang.values.envelope import device_id
from terang.values.errors import DeviceError, OutboxFull, SettingError
from terang.values.signing import KeyPair

__all__ = ["KEY_FILE", "Agent", "run_agent", "status"]

KEY_FILE = "device.key"
_STATE_FILE = "state.json"
_TICK_S = 0.25
_WRITE_STATE_MS = 10_000
_TRY_AGAIN_S = 5.0
_LAST_WORD_S = 8.0
_SLACK_MS = 1000


def run_agent(
    config: EdgeConfig,
    kind: MeterKind = PZEM,
    *,
    clock: Clock | None = None,
    source: TimeSource | None = None,
    stop: threading.Event | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Read, record, sign and deliver until SIGTERM, SIGINT or `stop`.

    Raises KeyInUse where another process runs with this key, DeviceError where the key is missing or no key; whatever
    else goes wrong is a state that ends by itself. `source` defaults to the machine's calendar as `config.clock` says.
    """
    clock = clock or SystemClock()
    stop = stop or threading.Event()
    source = source or CalendarSource(clock, {"kernel": is_kernel_synced, "trust": _yes, "never": _no}[config.clock])
    board_path = config.folder / _STATE_FILE
    board = StateBoard(board_path, clock, say) if say else StateBoard(board_path, clock)
    with HeldKey(config.folder / KEY_FILE) as held, _ended_by_signals(stop):
        own = device_id(held.pair.public).hex()
        _need_own_login(config, own)
        board.set("device", own)
        while not stop.is_set():
            agent = _begin(config, held.pair, kind, clock, source, board)
            if agent is None:
                board.write(dict, every_ms=_WRITE_STATE_MS)
                stop.wait(_TRY_AGAIN_S)
            else:
                agent.run(stop)


def _need_own_login(config: EdgeConfig, own: str) -> None:
    """A broker of somebody else's may know the device by any name; a name that is another device's id is a mistake."""
    if re.fullmatch("[0-9a-f]{32}", config.username) and config.username != own:
        raise SettingError(
            f"{config.folder / 'device.toml'} is the file of device {config.username}, and the key beside it is that of"
            f" {own}: the broker would drop all that it says; put the file of this device here"
        )


def _begin(
    config: EdgeConfig, key: KeyPair, kind: MeterKind, clock: Clock, source: TimeSource, board: StateBoard
) -> "Agent | None":
    try:
        return Agent(config, key, kind, clock, source, board)
    except OutboxFull as error:
        board.set("outbox", f"disk full, nothing can be read before there is room: {error}", is_fault=True)
    except DeviceError as error:
        board.set("outbox", str(error), is_fault=True)
    return None


def _yes() -> bool:
    return True


def _no() -> bool:
    return False


@contextmanager
def _ended_by_signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT end the agent cleanly; only a program's first thread may ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(name, lambda _number, _frame: stop.set()) for name in names]
    try:
        yield
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Agent:
    """One epoch of the device, from its boot event to its end."""

    def __init__(
        self,
        config: EdgeConfig,
        key: KeyPair,
        kind: MeterKind,
        clock: Clock,
        source: TimeSource,
        board: StateBoard,
    ) -> None:
        self._config, self._board, self._boot = config, board, _boot_id()
        self._uptime = Uptime(clock, source)
        pace = Pace(poll_ms=int(config.poll_s * 1000), record_ms=int(config.record_s * 1000))
        # nothing will come to share the envelope when the next reading is later than the envelope may wait
        self._wait_ms = 0 if config.envelope_s <= config.poll_s else int(config.envelope_s * 1000)
        risk_ms = int(config.envelope_s * 1000) + _SLACK_MS
        self._outbox = Outbox(
            config.folder,
            key,
            self._uptime,
            Promise(
                quantities=kind.quantities,
                meters=tuple(bus.meter(address) for bus in config.buses for address in bus.addresses),
                risk_ms=risk_ms,
                risk_reads=1 + -(-risk_ms // pace.poll_ms),
            ),
            max_bytes=config.max_bytes,
            boot=self._boot,
        )
        self._word = PlatformWord(config.platform_key, device_id(key.public), self._outbox)
        self._readers = [BusReader(bus, kind, pace, self._outbox, self._uptime, board) for bus in config.buses]
        self._link = Link(
            Login(
                host=config.broker_host,
                port=config.broker_port,
                username=config.username,
                password=config.password,
                device=device_id(key.public).hex(),
            ),
            LinkSettings(resend_ms=int(config.resend_s * 1000)),
            self._outbox,
            self._word,
            board,
            clock,
            random.Random(secrets.randbits(64)),  # noqa: S311 -- jitter, not a secret
        )
        self._outbox.on_sealed = self._link.wake
        for line in self._outbox.found:
            board.note(line)

    def run(self, stop: threading.Event) -> None:
        """Run until `stop`, or until the outbox file turns out to be broken: then a new epoch begins with a new one."""
        stop_reading, stop_sending = threading.Event(), threading.Event()
        reading = [threading.Thread(target=reader.run, args=(stop_reading,), daemon=True) for reader in self._readers]
        sending = threading.Thread(target=self._link.run, args=(stop_sending, _LAST_WORD_S), daemon=True)
        for thread in (*reading, sending):
            thread.start()
        while not stop.is_set() and not self._outbox.broken:
            self._tick()
            stop.wait(min(_TICK_S, self._config.poll_s / 2))
        stop_reading.set()
        for thread in reading:
            thread.join()
        self._outbox.seal_due(-1)
        stop_sending.set()
        self._link.wake()
        sending.join()
        self._board.set("agent", "stopped" if not self._outbox.broken else self._outbox.broken)
        self._write_state(every_ms=0)
        self._outbox.close()

    def _tick(self) -> None:
        fix = self._uptime.fix_due()
        if fix is not None:
            self._outbox.fix_time(fix, self._boot)
        self._outbox.seal_due(self._wait_ms)
        self._outbox.look_at_room()
        self._tell()
        self._write_state(every_ms=_WRITE_STATE_MS)

    def _tell(self) -> None:
        trouble = self._outbox.trouble
        words = {
            "": "keeps every reading",
            "outbox_full": "outbox full: readings are not kept until the platform has anchored some",
            "disk_full": "disk full: readings are not kept until there is room",
        }
        self._board.set("outbox", words.get(trouble, trouble), is_fault=bool(trouble))
        is_known = self._uptime.moment().utc_ms is not None
        self._board.set("clock", "the time is known" if is_known else "the time is not known: readings are undated")
        refused = sum(n for answer, n in self._word.counts.items() if answer not in {"receipt", "resend"})
        if refused:
            self._board.set("platform", "a message that it did not sign for this device was refused", is_fault=True)

    def _write_state(self, *, every_ms: int) -> None:
        self._board.write(self._figures, every_ms=every_ms)

    def _figures(self) -> dict[str, object]:
        meters: dict[str, dict[str, int]] = {}
        for reader in self._readers:
            meters |= reader.figures()
        return {"meters": meters, "outbox": self._outbox.counts(), "down": dict(self._word.counts)}


def status(folder: Path, clock: Clock | None = None) -> str:
    """What `terang edge --status` prints: the agent's last words, and whether it still runs."""
    is_running = is_held(folder / KEY_FILE)
    return describe_state(folder, is_running=is_running, now_ms=(clock or SystemClock()).now_ms())
