"""What the chain does not hold, in one encrypted file: keys, people, names, logins and settings.

The chain gives back every signed record (`restore.py`); it knows people, rooms and devices by number only, and no
secret at all. Both together are the whole house.

Form: b"TRGK", one byte with the version (1), 16 bytes of salt, then a libsodium secretbox (XSalsa20-Poly1305, 24 bytes
of nonce first) over JSON, under the Argon2id of a pass-phrase (libsodium's "moderate" limits).
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nacl import pwhash, secret, utils
from nacl.exceptions import CryptoError

from terang.acts import Unsaid
from terang.settings import Settings
from terang.store.reader import StoreReader
from terang.store.writer import StoreWriter
from terang.values.act import Act
from terang.values.errors import UsageError

__all__ = ["Backup", "open_backup", "take_backup"]

_MAGIC, _VERSION = b"TRGK", 1
_LEAST_LETTERS = 10
_NO_PASSWORD = "!"  # noqa: S105 the hash of none: nobody logs in before a new one is set
_PEOPLE = {
    "user": ("id", "name", "password_hash", "language", "session_version"),
    "room": ("id", "name"),
    "device": ("key_id", "name", "mqtt_password_hash", "revoke_reason"),
}
# Files of the data directory that are worth keeping beside keys/: secrets, the chain's first block, the owner's word.
_FILES = ("terang.toml", "signing-state", "chain/genesis.json", "chain/signer.key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """An opened backup. `files`: path in the data directory -> text. `site`: the store's settings. `rows`: table -> its
    rows as `_PEOPLE` names their columns, bytes as hex. `size`: how many records the log had.
    """

    made_ms: int
    size: int
    files: Mapping[str, str]
    site: Mapping[str, str]
    rows: Mapping[str, list[list[Any]]] = field(repr=False)

    def unsaid(self, act: Act) -> Unsaid:
        """What an act of the log leaves out; placeholders that `give_names` replaces where the backup knows more."""
        if act.name == "decide_step":
            names = {row[0]: row[1] for row in self.rows["user"]}
            return Unsaid(decided_by=names.get(act.person, "cli"))
        number = act.values[0]
        name = number.hex() if isinstance(number, bytes) else f"{act.name.removeprefix('add_')} no. {number}"
        return Unsaid(name=name, password_hash=_NO_PASSWORD)

    def give_names(self, writer: StoreWriter) -> None:
        """Names and logins as the backup has them; inside the writer's open transaction."""
        for table, rows in self.rows.items():
            columns = _PEOPLE[table]
            sets = ", ".join(f"{column}=?" for column in columns[1:])
            for row in rows:
                key = bytes.fromhex(row[0]) if table == "device" else row[0]
                writer.execute(f"UPDATE {table} SET {sets} WHERE {columns[0]}=?", (*row[1:], key))  # noqa: S608

    def put_files(self, data: Path) -> None:
        """The files at their places in a new data directory, readable to this user only."""
        for name, text in self.files.items():
            path = data / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)


def take_backup(settings: Settings, store: StoreReader, now_ms: int, passphrase: str) -> bytes:
    """The encrypted backup of a platform, taken beside it while it runs; UsageError where the pass-phrase is short."""
    _need_long(passphrase)
    store.hold()
    try:
        rows = {table: [_plain(row) for row in _rows(store, table)] for table in _PEOPLE}
        site = dict(store.rows("SELECT key, value FROM site WHERE key NOT IN ('ledger', 'ledger_fault')"))
        size = store.rows("SELECT coalesce(max(position), -1) + 1 FROM record")[0][0]
    finally:
        store.let_go()
    content = {"made_ms": now_ms, "size": size, "files": dict(_files(settings.data)), "site": site, "rows": rows}
    salt = utils.random(pwhash.argon2id.SALTBYTES)
    sealed = secret.SecretBox(_key(passphrase, salt)).encrypt(json.dumps(content).encode())
    return _MAGIC + bytes((_VERSION,)) + salt + sealed


def open_backup(data: bytes, passphrase: str) -> Backup:
    """The backup in these bytes; UsageError where they are none, or the pass-phrase is another."""
    end = len(_MAGIC) + 1 + pwhash.argon2id.SALTBYTES
    if data[: len(_MAGIC)] != _MAGIC or len(data) <= end:
        raise UsageError("this file is no backup that `terang backup` has written")
    if data[len(_MAGIC)] != _VERSION:
        raise UsageError(f"a backup of version {data[len(_MAGIC)]} needs a newer Terang")
    try:
        plain = secret.SecretBox(_key(passphrase, data[len(_MAGIC) + 1 : end])).decrypt(data[end:])
    except CryptoError as error:
        raise UsageError("the backup does not open: the pass-phrase is another, or the file was altered") from error
    return Backup(**json.loads(plain))


def _need_long(passphrase: str) -> None:
    if len(passphrase) < _LEAST_LETTERS:
        raise UsageError(f"the pass-phrase guards every key of the house: {_LEAST_LETTERS} characters or more")


def _key(passphrase: str, salt: bytes) -> bytes:
    limits = (pwhash.argon2id.OPSLIMIT_MODERATE, pwhash.argon2id.MEMLIMIT_MODERATE)
    key: bytes = pwhash.argon2id.kdf(secret.SecretBox.KEY_SIZE, passphrase.encode(), salt, *limits)
    return key


def _rows(store: StoreReader, table: str) -> list[tuple[Any, ...]]:
    return store.rows(f"SELECT {', '.join(_PEOPLE[table])} FROM {table} ORDER BY id")  # noqa: S608 our own words


def _plain(row: tuple[Any, ...]) -> list[Any]:
    return [value.hex() if isinstance(value, bytes) else value for value in row]


def _files(data: Path) -> Iterator[tuple[str, str]]:
    for path in [*sorted((data / "keys").glob("*")), *(data / name for name in _FILES)]:
        if path.is_file():
            yield path.relative_to(data).as_posix(), path.read_text(encoding="utf-8")
