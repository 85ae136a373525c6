"""A secp256k1 key of this machine in a file that only its owner can read."""

import os
import secrets
from pathlib import Path
from typing import Final

from eth_keys.datatypes import PrivateKey
from eth_utils.exceptions import ValidationError

from terang.values.errors import SettingError

__all__ = ["load_or_create_key"]

_KEY_BYTES: Final = 32


def load_or_create_key(path: Path) -> PrivateKey:
    """The key in this file (64 hexadecimal digits); where there is no file, a new key, made durable before it is used.

    Raises SettingError when others may read the file or it holds no key.
    """
    try:
        _write_new_key(path)
    except FileExistsError:
        pass
    except OSError as error:
        raise SettingError(f"cannot write the key file {path}: {error}") from error
    try:
        if path.stat().st_mode & 0o077:
            raise SettingError(f"others may read the key file {path}; run: chmod 600 {path}")
        return PrivateKey(bytes.fromhex(path.read_text(encoding="ascii").strip()))
    except (OSError, ValueError, ValidationError) as error:
        raise SettingError(f"{path} does not hold a key of 64 hexadecimal digits: {error}") from error


def _write_new_key(path: Path) -> None:
    """Link a whole, synced file into place, so that a crash leaves a key or none and two starts agree on one."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_bytes(_KEY_BYTES).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
