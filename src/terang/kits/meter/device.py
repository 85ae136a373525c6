"""Reads PZEM-004T v3 meters on a serial line: several addresses, one reader, nothing that cannot be trusted.

One Bus belongs to one thread. It opens its port when it is first needed and again after the port was lost.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from pymodbus.client import ModbusSerialClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.pdu import ModbusPDU

from terang.kits.meter import _frames as frames
from terang.kits.meter import rules
from terang.values.clock import Clock, SystemClock
from terang.values.errors import BusError, FrameError, UsageError

__all__ = ["ANSWER_TIMEOUT_S", "Bus", "BusTrouble", "RefusedFrame"]

ANSWER_TIMEOUT_S = 0.4
"""How long a meter may take to answer [s]. Request and answer take 34 ms on the line and the chip a few more; the rest
is for us: on a machine whose processors are all busy this process has been woken 150 ms late, and an answer that was
given up is a reading that is lost."""

_BAUD = 9600
_HEAD_AND_CHECKSUM = 5
_GENERAL_READS = 3
_READ_HOLDING, _READ_INPUT = 0x03, 0x04


class BusTrouble(BusError):
    """The line gave nothing; `reason` is `closed` (no such port, or it was lost), `in_use` or `silent`."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class RefusedFrame(FrameError):
    """Something came that is not to be trusted.

    `reason` is `crc`, `address`, `function`, `length`, `exception` (the meter itself says that it cannot), or one of
    rules.REASONS.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Bus:
    """One serial line with PZEM-004T v3 meters, 9600 baud 8N1, locked against other readers while it is open.

    `port` is a path such as /dev/serial0 or /dev/ttyUSB0. `local_echo` is for adapters that hear what they send.
    """

    def __init__(
        self,
        port: str | os.PathLike[str],
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
        local_echo: bool = False,
        clock: Clock | None = None,
    ) -> None:
        # every silent meter would be a line of the library's own in the log, beside our count of it
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        self.port = os.fspath(port)
        self._clock = clock or SystemClock()
        self._heard = b""
        self._recent: dict[int, tuple[tuple[int, int], ...]] = {}
        self._client = ModbusSerialClient(
            self.port,
            baudrate=_BAUD,
            timeout=timeout_s,
            retries=0,
            handle_local_echo=local_echo,
            trace_packet=self._trace,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the port and its lock; the next read opens it again."""
        self._client.close()  # type: ignore[no-untyped-call]

    def read(self, address: int) -> tuple[int, int, int, int, int, int]:
        """(voltage_mv, current_ma, power_mw, energy_mwh, frequency_millihz, power_factor_permille) of one meter.

        Takes about 45 ms. BusTrouble where nothing came, RefusedFrame where what came cannot be trusted; nothing is
        tried twice.
        """
        values = self._read_values(address)
        now_ms = self._clock.monotonic_ms()
        recent = self._recent.get(address, ())
        refused = rules.refusal(values, now_ms, recent)
        self._recent[address] = rules.remember(recent, now_ms, values[3])
        if refused is not None:
            reason, detail = refused
            raise RefusedFrame(reason, f"{self.port} address {address}: implausible {reason}: {detail}")
        return values

    def scan(self, addresses: Iterable[int] = range(1, frames.ADDRESS_MAX + 1)) -> list[int]:
        """The addresses at which something answers as a PZEM does; an address without one costs the time-out."""
        found = []
        for address in addresses:
            try:
                self._read_values(address)
            except RefusedFrame:
                continue
            except BusTrouble as trouble:
                if trouble.reason != "silent":
                    raise
                continue
            found.append(address)
        return found

    def set_address(self, new: int) -> int:
        """Give the ONE meter on this line the address `new`; the address it had is the answer.

        Every meter listens to the general address, so all others must be unplugged. Refuses (RefusedFrame) when more
        than one answers, as far as their answers differ; BusTrouble when none does; says so when the meter did not
        keep its new address.
        """
        if not 0 < new <= frames.ADDRESS_MAX:
            raise UsageError(f"a meter's address is 1 to {frames.ADDRESS_MAX}, not {new}")
        old = self._need_one()
        self._ask(
            lambda: self._client.write_register(frames.ADDRESS_REGISTER, new, device_id=frames.GENERAL_ADDRESS),
            frames.GENERAL_ADDRESS,
        )
        kept = self._read_address(new)
        if kept != new:
            raise RefusedFrame("address", f"{self.port}: the meter says address {kept} after it was given {new}")
        return old

    def _need_one(self) -> int:
        """The address of the only meter on the line."""
        try:
            found = {self._read_address(frames.GENERAL_ADDRESS) for _ in range(_GENERAL_READS)}
            for _ in range(_GENERAL_READS):
                values = self._read_values(frames.GENERAL_ADDRESS)
                if rules.refusal(values, 0, ()) is not None:
                    raise RefusedFrame("product", "an answer is implausible")
        except RefusedFrame as refused:
            raise RefusedFrame(
                refused.reason,
                f"{self.port}: more than one meter answers, or the line is disturbed ({refused}); leave only one on it",
            ) from refused
        if len(found) != 1:
            raise RefusedFrame("address", f"{self.port}: more than one meter answers: {sorted(found)}; leave only one")
        return found.pop()

    def _read_address(self, address: int) -> int:
        answer = self._ask(
            lambda: self._client.read_holding_registers(frames.ADDRESS_REGISTER, count=1, device_id=address), address
        )
        return self._registers(answer, address, _READ_HOLDING, 1)[0]

    def _read_values(self, address: int) -> tuple[int, int, int, int, int, int]:
        answer = self._ask(
            lambda: self._client.read_input_registers(0, count=frames.INPUT_REGISTERS, device_id=address), address
        )
        voltage, current, power, energy, frequency, factor = frames.from_registers(
            self._registers(answer, address, _READ_INPUT, frames.INPUT_REGISTERS)
        )
        return voltage, current, power, energy, frequency, factor

    def _registers(self, answer: ModbusPDU, address: int, function: int, count: int) -> tuple[int, ...]:
        """The registers of an answer that is nothing but the answer to this question; the library is less strict."""
        if self._heard[:2] != bytes((address, function)):
            raise RefusedFrame("function", f"{self.port} address {address}: {self._heard.hex()} came")
        if len(answer.registers) != count or len(self._heard) != 2 * count + _HEAD_AND_CHECKSUM:
            raise RefusedFrame("length", f"{self.port} address {address}: {len(self._heard)} bytes came")
        return tuple(answer.registers)

    def _ask(self, request: Callable[[], ModbusPDU], address: int) -> ModbusPDU:
        """The answer to one request; the library throws away what lay on the line before it asks."""
        self._heard = b""
        self._open()
        try:
            answer = request()
        except ConnectionException as error:
            raise BusTrouble(
                "closed", f"{self.port}: the port was lost; it is opened again at the next read"
            ) from error
        except ModbusException as error:
            raise self._why(address) from error
        except OSError as error:
            self.close()
            raise BusTrouble("closed", f"{self.port}: {error}") from error
        if answer.isError():
            code = getattr(answer, "exception_code", 0)
            raise RefusedFrame("exception", f"{self.port} address {address}: the meter answers with error {code}")
        return answer

    def _why(self, address: int) -> BusError | FrameError:
        """What was wrong with what came instead of the answer."""
        heard = self._heard
        where = f"{self.port} address {address}"
        if not heard:
            return BusTrouble("silent", f"{where}: no answer; check its address, its wires and its mains")
        text = f"{where}: {heard[:32].hex()} came"
        frame = heard[: heard[2] + _HEAD_AND_CHECKSUM] if len(heard) > _HEAD_AND_CHECKSUM else b""
        if not frame or len(frame) < heard[2] + _HEAD_AND_CHECKSUM:
            return RefusedFrame("length", text)
        if frames.seal(frame[:-2]) != frame:
            return RefusedFrame("crc", text)
        if frame[0] != address:
            return RefusedFrame("address", text)
        return RefusedFrame("function", text)

    def _open(self) -> None:
        if self._client.connected or self._client.connect():
            return
        if not Path(self.port).exists():
            raise BusTrouble("closed", f"{self.port}: there is no such port; is the adapter plugged in?")
        try:
            port = os.open(self.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise BusTrouble("closed", f"{self.port}: {error.strerror}; may this user read and write it?") from error
        try:
            fcntl.flock(port, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusTrouble("in_use", f"{self.port}: another process reads this line") from error
        finally:
            os.close(port)
        raise BusTrouble("closed", f"{self.port}: the port would not open; it is tried again at the next read")

    def _trace(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001 - the library calls it so
        # the library hands over all that it has not used yet, so the newest call holds what the call before held
        if not sending:
            self._heard = data
        return data
