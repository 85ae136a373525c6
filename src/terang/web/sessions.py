"""Sessions: who has logged in, in an encrypted cookie that the browser keeps.

The cookie is a sealed box (XSalsa20-Poly1305) under a key in the web process' own folder, so that a restart logs
nobody out. It ends when its time is over, when the person logs out (its id goes to a file) and when the person's
session_version changes, which a new password does.
"""

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from nacl.utils import random as random_bytes

from terang.reader import User
from terang.values.errors import SettingError

__all__ = ["COOKIE", "Session", "Sessions"]

COOKIE = "terang_session"
_DAY_MS = 86_400_000
_ID_BYTES = 16
_COOKIE_MAX = 1024


class _Sealed(msgspec.Struct, array_like=True):
    id: str
    user_name: str
    version: int
    started_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An opened cookie: its `id` (hex), whose it is, of which session_version, since when."""

    id: str
    user_name: str
    version: int
    started_ms: int


class Sessions:
    """Makes and opens session cookies; `state_dir` keeps the key and the ids of ended sessions."""

    def __init__(self, state_dir: Path, *, days: int) -> None:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.key = _key(state_dir / "web-session.key")
        self.max_age_s = days * _DAY_MS // 1000
        self._life_ms = days * _DAY_MS
        self._box = SecretBox(self.key)
        self._ended_path = state_dir / "web-sessions-ended"
        self._ended: dict[str, int] = _read_ended(self._ended_path)

    def start(self, user: User, now_ms: int) -> str:
        """A cookie value for this person."""
        sealed = _Sealed(random_bytes(_ID_BYTES).hex(), user.name, user.session_version, now_ms)
        return base64.urlsafe_b64encode(self._box.encrypt(msgspec.json.encode(sealed))).decode().rstrip("=")

    def open(self, cookie: str, now_ms: int) -> Session | None:
        """What the cookie says, None if it is not ours, over, or ended; whether the version holds, the store knows."""
        if len(cookie) > _COOKIE_MAX:
            return None
        try:
            plain = self._box.decrypt(base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4)))
            sealed = msgspec.json.decode(plain, type=_Sealed)
        except (CryptoError, binascii.Error, ValueError, msgspec.DecodeError):
            return None
        age_ms = now_ms - sealed.started_ms
        # A day of grace for a machine whose clock was set back after somebody logged in.
        if not -_DAY_MS <= age_ms < self._life_ms or sealed.id in self._ended:
            return None
        return Session(id=sealed.id, user_name=sealed.user_name, version=sealed.version, started_ms=sealed.started_ms)

    def is_ended(self, session: Session) -> bool:
        """Whether somebody has logged out of this session."""
        return session.id in self._ended

    def end(self, session: Session, now_ms: int) -> None:
        """End one session for good, also over a restart."""
        self._ended[session.id] = session.started_ms + self._life_ms
        self._ended = {id_: until for id_, until in self._ended.items() if until > now_ms}
        _replace(self._ended_path, "".join(f"{id_} {until}\n" for id_, until in self._ended.items()).encode())


def _key(path: Path) -> bytes:
    if not path.exists():
        _replace(path, random_bytes(SecretBox.KEY_SIZE))
    key = path.read_bytes()
    if len(key) != SecretBox.KEY_SIZE:
        raise SettingError(f"{path} is not a session key; delete it, and everybody logs in again")
    return key


def _read_ended(path: Path) -> dict[str, int]:
    ended = {}
    if path.exists():
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            id_, _, until = line.partition(" ")
            if until.isdecimal():
                ended[id_] = int(until)
    return ended


def _replace(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    partial = path.with_name(path.name + ".new")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
