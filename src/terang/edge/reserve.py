"""A little room on disk that is given up when the disk is full, so that receipts can still empty the outbox."""

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["RESERVE_BYTES", "Reserve"]

RESERVE_BYTES = 128 * 1024


class Reserve:
    """The file at `path`, which holds nothing but its place."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> bool:
        """Whether the room could be taken with as much again left free: then there is room to write once more."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            finally:
                os.close(descriptor)
            room = os.statvfs(self._path.parent)
            if room.f_bavail * room.f_frsize >= RESERVE_BYTES:
                return True
        except OSError:
            pass
        self.release()
        return False

    def release(self) -> None:
        """Give the room to whoever needs it; here that is the outbox."""
        with suppress(OSError):
            self._path.unlink()
