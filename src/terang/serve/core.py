"""The core's process: the only writer of the store. Takes envelopes, carries out commands, keeps the ledger's process.

All that writes runs one after another in one thread; the event loop only moves bytes.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import uvloop

from terang.ingest.credentials import CORE_USER, Login, write_credentials
from terang.ingest.intake import Arrived, Intake
from terang.ingest.receipts import EpochState, Receipts
from terang.kits_installed import load_kits
from terang.ledger.checkpoint import origin_of
from terang.ledger.drafts import Anchored, BatchDraft
from terang.log_writer import LogWriter
from terang.pipeline import Outcome, Pipeline
from terang.serve.child import REFUSED, end_with_parent, spare_the_collector, speak_as
from terang.serve.door import Door
from terang.serve.launch import launch
from terang.serve.plan import CorePlan
from terang.serve.wire import Call, ForgetAnchored, LedgerKeys, Release, SaveStatus, SaveTiles, SaveTransaction
from terang.store.writer import StoreWriter
from terang.values import command
from terang.values.clock import SystemClock
from terang.values.command import Answer, Ask, Done, Live
from terang.values.errors import StoreError, TerangError
from terang.values.signing import KeyPair
from terang.verify.envelopes import Opened, Refusal
from terang.verify.signatures import check_claims, check_packed, pack_claims

__all__ = ["run_core"]

_T = TypeVar("_T")
_LEDGER = "terang.serve.ledger:run_ledger"
_LEDGER_AGAIN_S, _LEDGER_PAUSE_S = 2.0, 60.0
_LEDGER_END_S = 10.0
_MANY = 100  # signatures in one group from which on another process is worth its while
_log = logging.getLogger(__name__)


class _Core:
    def __init__(self, plan: CorePlan) -> None:
        self._plan = plan
        self._settings = plan.settings
        clock = SystemClock()
        self._writer = StoreWriter(plan.settings.store_path)
        key = KeyPair(plan.platform_seed)
        self.pipeline = Pipeline(writer=self._writer, kits=load_kits(), key=key, clock=clock)
        self._log = LogWriter(self.pipeline)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._door = Door(plan.settings.socket_path, self._answer)
        self._opening = ThreadPoolExecutor(1, thread_name_prefix="opener")
        self._checkers = _new_checkers()
        self._intake = Intake(
            address=plan.broker, open_group=self._open, accept=self._accept, receipts=Receipts(key), clock=clock
        )
        self._hint: Connection[str, str] | None = None
        self._publish_logins()

    async def run(self) -> None:
        """Work until cancelled."""
        ledger_up = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._door.run())
            tasks.create_task(self._keep_ledger(ledger_up))
            await ledger_up.wait()  # nothing is taken before the store is known not to be behind what was signed
            tasks.create_task(self._intake.run())

    def close(self) -> None:
        """Finish what is being written."""
        self._checkers.shutdown(wait=False, cancel_futures=True)
        self._opening.shutdown(wait=True)
        self._thread.shutdown(wait=True)
        self._writer.close()

    async def _in_writer(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _open(self, arrived: list[Arrived]) -> list[Opened | Refusal]:
        loop, opening = asyncio.get_running_loop(), self.pipeline.opening
        found = opening.read([message.data for message in arrived])  # a thread would only wait for Python's lock
        claims = [one[1] for one in found if not isinstance(one, Refusal)]
        verdicts: list[bool] | bytes
        if len(claims) < _MANY:
            verdicts = await loop.run_in_executor(self._opening, check_claims, claims)
        else:
            verdicts = await self._check(pack_claims(claims))
        return opening.admit(found, verdicts)

    async def _check(self, packed: bytes) -> bytes:
        """In the process for signatures; in a new one if that was killed."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await loop.run_in_executor(self._checkers, check_packed, packed)
            except BrokenProcessPool:
                _log.warning("the process that checks signatures ended; starting another")
                self._checkers.shutdown(wait=False)
                self._checkers = _new_checkers()

    async def _accept(self, arrived: list[Arrived], opened: list[Opened | Refusal]) -> Outcome:
        outcome = await self._in_writer(lambda: self.pipeline.accept(arrived, opened))
        if outcome.live:
            self._door.tell(Live(readings=outcome.live))
        return outcome

    async def _answer(self, ask: Ask) -> Answer:
        try:
            answer = await self._in_writer(lambda: self.pipeline.execute(ask))
        except StoreError as error:
            return command.Refused(reason=str(error))
        if isinstance(answer, Done):
            if isinstance(ask.command, (command.AdoptDevice, command.NewLogin, command.RevokeDevice)):
                await self._in_writer(self._publish_logins)
            if isinstance(ask.command, command.Watch):
                self._tell_ledger("hurry")
        return answer

    def _publish_logins(self) -> None:
        """Who may log in at the broker; files are written before the answer, so that the login works at once."""
        rows = self._writer.rows("SELECT key_id, mqtt_password_hash FROM device WHERE revoked_ms IS NULL")
        own = self._settings.broker_dir / "core.hash"
        logins = [Login(bytes(row[0]).hex(), row[1]) for row in rows]
        if own.exists():
            logins.append(Login(CORE_USER, own.read_text().strip()))
        write_credentials(self._settings.broker_dir, logins)

    async def _keep_ledger(self, up: asyncio.Event) -> None:
        """Run the ledger's process, and run it again when it dies; a fault of the very first start ends the core."""
        pause_s = _LEDGER_AGAIN_S
        while True:
            calls, theirs = multiprocessing.Pipe()
            hint, their_hint = multiprocessing.Pipe()
            keys = LedgerKeys(
                site=self._plan.site,
                checkpoint_seed=self._plan.checkpoint_seed,
                origin=origin_of(self._plan.site),
            )
            process = multiprocessing.get_context("spawn").Process(
                target=launch, args=(_LEDGER, self._settings, keys, theirs, their_hint), name="terang-ledger"
            )
            await asyncio.to_thread(process.start)
            theirs.close()
            their_hint.close()
            self._hint = hint
            serving = asyncio.ensure_future(self._serve_ledger(calls, up))
            try:
                await asyncio.shield(serving)
            finally:
                await self._in_writer(lambda: None)  # what is being committed now is to be anchored too
                self._tell_ledger("stop")
                self._hint = None
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({serving}, timeout=_LEDGER_END_S)  # its last batch needs the store
                    await asyncio.to_thread(process.join, _LEDGER_END_S)
                hint.close()
            if not up.is_set():
                fault = self._writer.rows("SELECT value FROM site WHERE key='ledger_fault'")
                raise TerangError(fault[0][0] if fault else "the ledger's process could not start")
            _log.warning("the ledger's process ended (%s); starting it again", process.exitcode)
            await asyncio.sleep(pause_s)
            # one that was killed may work again at once; one that says why it cannot will say so again
            pause_s = min(2 * pause_s, _LEDGER_PAUSE_S) if process.exitcode == REFUSED else _LEDGER_AGAIN_S

    async def _serve_ledger(self, calls: "Connection[Any, Any]", up: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                call = await asyncio.to_thread(calls.recv)
            except (EOFError, OSError):
                return
            try:
                told = await self._in_writer(lambda call=call: self._write(call))  # type: ignore[misc]
            except StoreError as error:
                with contextlib.suppress(OSError):
                    calls.send(str(error))
                continue
            with contextlib.suppress(OSError):  # a ledger that is gone by now is noticed at the next call
                calls.send("")
            if isinstance(call, SaveStatus) and "ledger" in call.values and "ledger_fault" not in call.values:
                loop.call_soon(up.set)
            if isinstance(call, Anchored):
                self._intake.note(told)
                self._door.tell(
                    command.Anchored(
                        size=call.new_size, block_number=call.block_number, block_hash=call.block_hash.hex()
                    )
                )

    def _write(self, call: Call) -> dict[tuple[bytes, bytes], EpochState]:
        if isinstance(call, Anchored):
            return self._log.save_anchored(call)
        if isinstance(call, BatchDraft):
            self._log.save_batch(call)
        elif isinstance(call, SaveTiles):
            self._log.save_tiles(call.tiles)
        elif isinstance(call, SaveTransaction):
            self._log.save_transaction(*call)
        elif isinstance(call, ForgetAnchored):
            self._log.forget_anchored(call.size)
        elif isinstance(call, Release):
            self._log.release(*call)
        else:
            self._log.save_status(call.values)
        return {}

    def _tell_ledger(self, hint: str) -> None:
        if self._hint is not None:
            with contextlib.suppress(OSError):
                self._hint.send(hint)


def _new_checkers() -> ProcessPoolExecutor:
    """Started only when it has something to do: a house of ten rooms never needs a second process for signatures."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_checking)


def _begin_checking() -> None:
    end_with_parent()
    spare_the_collector()


def run_core(plan: CorePlan) -> None:
    """The main function of the process: until SIGTERM, or until the parent is gone."""
    end_with_parent()
    speak_as("core")
    core = _Core(plan)
    spare_the_collector()
    try:
        uvloop.run(_until_told(core))
    except* TerangError as group:
        for error in group.exceptions:
            _log.error("%s", error)
        raise SystemExit(REFUSED) from None
    finally:
        core.close()


async def _until_told(core: _Core) -> None:
    main = asyncio.ensure_future(core.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await main
