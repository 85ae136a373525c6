"""Every setting in one table: name, default, what it does. Read from DIR/terang.toml, then from TERANG_NAME."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from terang.values.errors import SettingError

__all__ = ["HELP", "Settings", "load_settings", "running_settings", "save_running"]

_RUNNING = "running.toml"
_SOCKET_PATH_MAX = 107  # sockaddr_un of Linux holds 108 bytes with the closing zero

HELP = {
    "site_name": "what the pages call the house",
    "time_zone": "IANA name of the site's time zone: Asia/Jakarta, Asia/Makassar or Asia/Jayapura",
    "language": "the language of the pages until a user chooses: id or en",
    "broker": "embedded, mosquitto (started by Terang) or mqtt://user:password@host:port (your own)",
    "broker_host": "where the embedded broker or mosquitto listens; 0.0.0.0 for devices on the network",
    "broker_port": "the port there",
    "web_host": "where the pages are served; 0.0.0.0 for phones on the network",
    "web_port": "the port there",
    "web_https": "true when people reach the pages over https, behind a reverse proxy that ends it",
    "web_proxies": "addresses of reverse proxies whose X-Forwarded-For is believed, with commas between",
    "rpc_port": "where the embedded chain answers read-only JSON-RPC on loopback; 0 for nowhere",
    "chain": "embedded, or the JSON-RPC URL or IPC path of a node",
    "chain_period_s": "the least time between two blocks of the embedded chain",
    "confirmations": "how many blocks a node's chain must have on top of an anchor before it counts (embedded: 0)",
    "witness": "who co-signs the log's head: a URL and a key, as `terang witness` prints them; empty for nobody",
    "anchor_s": "how often new records are brought onto the chain",
    "keep_envelopes_days": "how long signed bytes stay in the store after they stand on the chain",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one platform, as HELP explains them; `data` is the directory that holds everything."""

    data: Path
    site_name: str = "Kos Terang"
    time_zone: str = "Asia/Jakarta"
    language: str = "id"
    broker: str = "embedded"
    broker_host: str = "127.0.0.1"
    broker_port: int = 1883
    web_host: str = "127.0.0.1"
    web_port: int = 8080
    web_https: bool = False
    web_proxies: str = ""
    rpc_port: int = 8545
    chain: str = "embedded"
    chain_period_s: int = 1
    confirmations: int = 1
    witness: str = ""
    anchor_s: int = 60
    keep_envelopes_days: int = 7

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, OSError, ValueError) as error:
            raise SettingError(f"time_zone: {self.time_zone} is not the name of a time zone") from error
        if self.language not in ("id", "en"):
            raise SettingError(f"language: the pages speak id or en, not {self.language}")
        for name in ("broker_port", "web_port", "rpc_port"):
            if not 0 <= getattr(self, name) < 1 << 16:
                raise SettingError(f"{name}: a port is a number from 0 to 65535")
        for name in ("broker_port", "web_port"):
            if getattr(self, name) == 0:
                raise SettingError(f"{name}: devices and people must know where to find it; a number from 1 to 65535")
        for name in ("broker_host", "web_host"):
            try:
                ip_address(getattr(self, name))
            except ValueError as error:
                raise SettingError(f"{name}: an address of this machine such as 127.0.0.1 or 0.0.0.0") from error
        if len(os.fsencode(self.socket_path.absolute())) > _SOCKET_PATH_MAX:
            raise SettingError(f"{self.data}: the path is too long for a local socket; choose a shorter directory")
        for name in ("chain_period_s", "anchor_s"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}: at least 1 second")
        for name in ("keep_envelopes_days", "confirmations"):
            if getattr(self, name) < 0:
                raise SettingError(f"{name}: a number, 0 or more")

    @property
    def store_path(self) -> Path:
        """The SQLite file."""
        return self.data / "store.sqlite"

    @property
    def chain_dir(self) -> Path:
        """The embedded chain."""
        return self.data / "chain"

    @property
    def keys_dir(self) -> Path:
        """Secret keys of the platform."""
        return self.data / "keys"

    @property
    def broker_dir(self) -> Path:
        """Logins and state of the broker."""
        return self.data / "broker"

    @property
    def socket_path(self) -> Path:
        """The core's local socket."""
        return self.data / "core.sock"

    @property
    def signing_state_path(self) -> Path:
        """What was last signed; outside the store on purpose."""
        return self.data / "signing-state"


def load_settings(data: Path, environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings of the platform in `data`: given ones first, then TERANG_NAME, then terang.toml, then defaults."""
    path = data / "terang.toml"
    values = _read(path)
    for name in HELP:
        text = (os.environ if environment is None else environment).get(f"TERANG_{name.upper()}")
        if text is not None:
            values[name] = text
    values.update({name: value for name, value in given.items() if value is not None})
    return _made(data, path, values)


def running_settings(data: Path) -> Settings:
    """The settings with which the platform in `data` was started last, options and environment included."""
    path = data / _RUNNING
    return _made(data, path, _read(path)) if path.exists() else load_settings(data)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path} cannot be read: {error}") from error


def _made(data: Path, path: Path, values: dict[str, Any]) -> Settings:
    types = {field.name: field.type for field in fields(Settings)}
    for name, value in values.items():
        if name not in HELP:
            raise SettingError(f"{path}: there is no setting {name}; there are {', '.join(sorted(HELP))}")
        values[name] = _typed(name, value, types[name])
    return Settings(data=data, **values)


def save_running(settings: Settings) -> None:
    """Note with which settings the platform runs, so that other commands find it; terang.toml stays the owner's."""
    values = {name: getattr(settings, name) for name in HELP}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = settings.data / _RUNNING
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _typed(name: str, value: Any, wanted: Any) -> Any:
    if wanted is int:
        if isinstance(value, (bool, float)):
            raise SettingError(f"{name}: {value} is not a whole number")
        try:
            return int(value)
        except (TypeError, ValueError) as error:
            raise SettingError(f"{name}: {value} is not a whole number") from error
    if wanted is bool:
        if str(value).lower() not in ("true", "false"):
            raise SettingError(f"{name}: true or false, not {value}")
        return str(value).lower() == "true"
    if not isinstance(value, str):
        raise SettingError(f"{name}: a text is needed, not {value!r}")
    return value
