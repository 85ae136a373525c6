"""The platform's own secrets, each in a file of its own that only this user can read; made at the first start.

docs/keys.md says for each where it is, what for, what if it is lost and what if it is stolen.
"""

import os
import secrets
from pathlib import Path
from typing import NamedTuple

from terang.values.errors import SettingError
from terang.values.signing import KeyPair

__all__ = ["Keyring", "load_keyring", "load_seed"]

_SIZE = 32


class Keyring(NamedTuple):
    """`platform` signs receipts and acts, `checkpoint` the log's checkpoints; `site` names the log on the chain
    (32 bytes); `broker_password` is the core's at the broker.
    """

    platform: KeyPair
    checkpoint: KeyPair
    site: bytes
    broker_password: str


def load_keyring(directory: Path) -> Keyring:
    """The secrets in this directory, made where they are missing; SettingError where one cannot be read."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Keyring(
        KeyPair(load_seed(directory / "platform.key")),
        KeyPair(load_seed(directory / "checkpoint.key")),
        load_seed(directory / "site.id"),
        load_seed(directory / "broker.key").hex(),
    )


def load_seed(path: Path) -> bytes:
    """The 32 secret bytes in this file, made where it is missing; SettingError where it cannot be read."""
    try:
        if not path.exists():
            _make(path)
        value = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise SettingError(f"{path} cannot be read: {error}; take it from a backup") from error
    if len(value) != _SIZE:
        raise SettingError(f"{path} does not hold 64 hex digits; take it from a backup")
    return value


def _make(path: Path) -> None:
    """Whole or not at all: written beside, synced, then linked to its name."""
    temporary = path.with_suffix(f".{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_bytes(_SIZE).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
