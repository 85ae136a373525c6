"""What one device is told when it is adopted: its platform, its login, its buses and how often it speaks."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terang.values.errors import SettingError

__all__ = ["CLOCKS", "BusConfig", "EdgeConfig", "load_config", "render_config"]

CLOCKS = ("kernel", "trust", "never")
"""Whose word is taken for the calendar: the kernel's (is it synced?), always (a laptop, a demo), or nobody's."""

_METERS_A_BUS = 256
_ADDRESS_MAX = 247
_BUS_MAX = 65535
_PORT_MAX = 65535
_KEY_BYTES = 32
_SECONDS = (0.02, 3600.0)
_BYTES_MIN = 512 * 1024
_FIRST_PRINTABLE = " "


@dataclass(frozen=True, slots=True, kw_only=True)
class BusConfig:
    """One serial line: its `number` on this device (never reused for another line), its `port`, who is on it."""

    number: int
    port: str
    addresses: tuple[int, ...]

    def meter(self, address: int) -> int:
        """The meter's number on the device, the `meter` of its envelopes: 256 x bus number + address."""
        return self.number * _METERS_A_BUS + address


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """All that the agent needs beside its key. Seconds may be fractions; `platform_key` is the pinned 32 bytes.

    `envelope_s` is how long readings wait for one another under one signature, `max_bytes` how much the outbox may
    take on disk, `resend_s` after what silence of the platform the oldest envelopes are sent again.
    """

    folder: Path
    broker_host: str
    broker_port: int
    username: str
    password: str
    platform_key: bytes
    buses: tuple[BusConfig, ...]
    poll_s: float = 1.0
    record_s: float = 10.0
    envelope_s: float = 10.0
    resend_s: float = 30.0
    max_bytes: int = 256 * 1024 * 1024
    clock: str = "kernel"


def load_config(path: Path) -> EdgeConfig:
    """The configuration in this file, whose folder also holds the key and the outbox; SettingError names the fault."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingError(f"{path} does not exist: run `terang device adopt` on the platform first") from None
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path} cannot be read: {error}") from error
    try:
        return _checked(_config(path.parent, table))
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise SettingError(f"{path}: {what}") from error


def _config(folder: Path, table: Mapping[str, Any]) -> EdgeConfig:
    known = {"broker", "platform_key", "buses", "poll_s", "record_s", "envelope_s", "resend_s", "max_bytes", "clock"}
    if unknown := table.keys() - known:
        raise ValueError(f"{min(unknown)} is no setting of a device")
    broker = table["broker"]
    optional: dict[str, Any] = {
        name: float(table[name]) for name in ("poll_s", "record_s", "envelope_s", "resend_s") if name in table
    }
    return EdgeConfig(
        folder=folder,
        broker_host=str(broker["host"]),
        broker_port=int(broker["port"]),
        username=str(broker["username"]),
        password=str(broker["password"]),
        platform_key=bytes.fromhex(table["platform_key"]),
        buses=tuple(
            BusConfig(number=int(bus["number"]), port=str(bus["port"]), addresses=tuple(map(int, bus["addresses"])))
            for bus in table["buses"]
        ),
        max_bytes=int(table.get("max_bytes", EdgeConfig.__dataclass_fields__["max_bytes"].default)),
        clock=str(table.get("clock", "kernel")),
        **optional,
    )


def _checked(config: EdgeConfig) -> EdgeConfig:
    if len(config.platform_key) != _KEY_BYTES:
        raise ValueError("platform_key must be 64 hex digits")
    if not config.buses:
        raise ValueError("buses must name at least one port")
    if len({bus.number for bus in config.buses}) != len(config.buses):
        raise ValueError("two buses have one number")
    if len({bus.port for bus in config.buses}) != len(config.buses):
        raise ValueError("two buses have one port")
    for bus in config.buses:
        if not 0 <= bus.number <= _BUS_MAX:
            raise ValueError("a bus number is 0 to 65535")
        if not bus.addresses or len(set(bus.addresses)) != len(bus.addresses):
            raise ValueError(f"bus {bus.number} must name each of its addresses once")
        if any(not 1 <= address <= _ADDRESS_MAX for address in bus.addresses):
            raise ValueError(f"bus {bus.number}: a Modbus address is 1 to 247")
    for name in ("poll_s", "envelope_s", "resend_s"):
        if not _SECONDS[0] <= getattr(config, name) <= _SECONDS[1]:
            raise ValueError(f"{name} must be 0.02 to 3600 seconds")
    if not 0 <= config.record_s <= _SECONDS[1]:
        raise ValueError("record_s must be 0 to 3600 seconds")
    if config.max_bytes < _BYTES_MIN:
        raise ValueError("max_bytes must be at least 524288")
    if config.clock not in CLOCKS:
        raise ValueError(f"clock must be one of {', '.join(CLOCKS)}")
    if not 1 <= config.broker_port <= _PORT_MAX:
        raise ValueError("the broker's port must be 1 to 65535")
    return config


def render_config(config: EdgeConfig) -> str:
    """The text of a file from which `load_config` makes this configuration again. It holds a password: mode 0600."""
    lines = [
        "# What this device was told when it was adopted. It holds the MQTT password: keep it at mode 0600.",
        f"platform_key = {_text(config.platform_key.hex())}",
        f"poll_s = {config.poll_s}",
        f"record_s = {config.record_s}",
        f"envelope_s = {config.envelope_s}",
        f"resend_s = {config.resend_s}",
        f"max_bytes = {config.max_bytes}",
        f"clock = {_text(config.clock)}",
        "",
        "[broker]",
        f"host = {_text(config.broker_host)}",
        f"port = {config.broker_port}",
        f"username = {_text(config.username)}",
        f"password = {_text(config.password)}",
    ]
    for bus in config.buses:
        lines += ["", "[[buses]]", f"number = {bus.number}", f"port = {_text(bus.port)}"]
        lines.append(f"addresses = [{', '.join(map(str, bus.addresses))}]")
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    escaped = "".join(
        f"\\u{ord(letter):04x}" if letter < _FIRST_PRINTABLE or letter in '"\\\x7f' else letter for letter in value
    )
    return f'"{escaped}"'
