"""Who may log in at the broker, and what each may publish and read: one password file and one ACL for both brokers.

The files have mosquitto's form, so that a house with mosquitto of its own includes them as they are.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = ["CORE_USER", "Login", "PasswordFile", "may", "verify_password", "write_credentials"]

CORE_USER = "terang-core"


class Login(NamedTuple):
    """A device's name at the broker (its id in hex) and its password's hash in mosquitto's $7$ form."""

    username: str
    password_hash: str


def write_credentials(directory: Path, logins: Iterable[Login]) -> None:
    """Write `passwd` and `acl`, each replaced at once, readable by this user only."""
    directory.mkdir(parents=True, exist_ok=True)
    known = list(logins)
    _replace(directory / "passwd", "".join(f"{login.username}:{login.password_hash}\n" for login in known))
    acl = [f"user {CORE_USER}", "topic read terang/v1/+/up", "topic write terang/v1/+/down"]
    acl += ["", "pattern write terang/v1/%u/up", "pattern read terang/v1/%u/down", ""]
    _replace(directory / "acl", "\n".join(acl))


def may(username: str, topic: str, *, publish: bool) -> bool:
    """Whether this user may publish to, or read, the topic or filter: the ACL above as a function."""
    parts = topic.split("/")
    if len(parts) != 4 or parts[:2] != ["terang", "v1"]:
        return False
    if username == CORE_USER:
        return parts[3] == ("down" if publish else "up")
    return parts[2] == username and parts[3] == ("up" if publish else "down")


class PasswordFile:
    """The password file as the embedded broker reads it: anew whenever it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._hashes: dict[str, str] = {}

    def accepts(self, username: str | None, password: str | None) -> bool:
        """Whether the password is this user's; unknown users cost the same as wrong passwords."""
        self._refresh()
        known = self._hashes.get(username or "", "$7$101$AAAAAAAAAAAAAAAA$AAAA")
        return verify_password(password or "", known) and username in self._hashes

    def _refresh(self) -> None:
        try:
            state = self._path.stat()
        except OSError:
            self._hashes = {}
            return
        stamp = (state.st_mtime_ns, state.st_ino)
        if stamp != self._stamp:
            lines = self._path.read_text().splitlines()
            self._hashes = dict(line.split(":", 1) for line in lines if ":" in line)
            self._stamp = stamp


def verify_password(password: str, known: str) -> bool:
    """Whether this is the password behind a hash in mosquitto's file form."""
    try:
        _, scheme, rounds, salt, digest = known.split("$")
        if scheme != "7":
            return False
        made = hashlib.pbkdf2_hmac("sha512", password.encode(), base64.b64decode(salt), int(rounds))
        return hmac.compare_digest(made, base64.b64decode(digest))
    except (ValueError, binascii.Error):
        return False


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)
