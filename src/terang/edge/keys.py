"""The device's own key: made here, never exported, and held by one process at a time."""

import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from terang.values.errors import DeviceError, KeyInUse
from terang.values.signing import KeyPair

__all__ = ["HeldKey", "create_key", "is_held"]

_SEED_BYTES = 32


def create_key(path: Path) -> KeyPair:
    """A new key, written to `path` with mode 0600 and safely on disk; DeviceError where a file already stands there.

    It is written beside its place and then linked there, so that a power cut leaves a whole key or none.
    """
    pair = KeyPair.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(pair.seed.hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        finally:
            draft.unlink()
        _sync_folder(path.parent)
    except FileExistsError:
        raise DeviceError(f"{path} exists already: a device's key is never overwritten") from None
    except OSError as error:
        raise DeviceError(f"the key cannot be written to {path}: {error.strerror}") from error
    return pair


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether some process holds the key at `path`, by the kernel's list of locks; asking does not take the lock."""
    try:
        inode = path.stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return False
    return any(f":{inode} " in line and "FLOCK" in line for line in locks.splitlines())


class HeldKey:
    """The key at `path`, locked for this process until closed; KeyInUse while another process holds it.

    The lock is the kernel's: it ends with the process however that ends. A copy of the key on another machine cannot
    be seen from here; the platform sees it as two live epochs.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise DeviceError(f"{path} does not exist: make a key with `terang edge key`") from None
        except OSError as error:
            raise DeviceError(f"the key {path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise KeyInUse(
                f"another process is using the key {path}: stop it first, one device has one agent"
            ) from None
        try:
            self.pair = self._read(path)
        except DeviceError:
            self.close()
            raise

    def _read(self, path: Path) -> KeyPair:
        if os.fstat(self._descriptor).st_mode & 0o077:
            raise DeviceError(f"others may read the key {path}: chmod 600 it, and think whether it is still a secret")
        text = os.pread(self._descriptor, 200, 0).strip()
        try:
            seed = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            seed = b""
        if len(seed) != _SEED_BYTES:
            raise DeviceError(f"{path} is not a key of a device: it must hold 64 hex digits")
        return KeyPair(seed)

    def close(self) -> None:
        """Let go of the key."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
