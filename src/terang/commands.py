"""What each command does to the store, inside the transaction of `pipeline.execute`. UsageError says why not."""

import base64
import hashlib
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from nacl.bindings import crypto_core_ed25519_is_valid_point

from terang.acts import Unsaid, record_act
from terang.store.group import Group
from terang.store.writer import StoreWriter
from terang.values import command as c
from terang.values.act import Act
from terang.values.envelope import device_id
from terang.values.errors import CodecError, UsageError
from terang.values.signing import KeyPair
from terang.world import Device, World

__all__ = ["carry_out", "mqtt_password_hash"]

_ROLES = ("owner", "tenant")
_LANGUAGES = ("id", "en")
_NAME_LENGTH = 80


@dataclass(slots=True)
class _Desk:
    """What a command works with."""

    world: World
    group: Group
    key: KeyPair
    now_ms: int
    person: int
    kits: Collection[str]

    @property
    def writer(self) -> StoreWriter:
        return self.world.writer

    def one(self, sql: str, *values: Any, otherwise: str) -> Any:
        rows = self.writer.rows(sql, values)
        if not rows:
            raise UsageError(otherwise)
        return rows[0]

    def next_id(self, table: str) -> int:
        """The number that a new row of this table gets: it stands in the log too, so it cannot be left to the table."""
        return int(self.writer.rows(f"SELECT coalesce(max(id), 0) + 1 FROM {table}")[0][0])  # noqa: S608 our own words

    def act(self, name: str, /, *values: int | str | bytes, **unsaid: Any) -> int:
        """Put a signed act into the log and do what it says; its position."""
        act = Act(name, self.now_ms, self.person, values)
        return record_act(self.world, self.group, self.key, act, Unsaid(**unsaid))


def carry_out(ask: c.Ask, world: World, group: Group, key: KeyPair, now_ms: int, kits: Collection[str]) -> c.Done:
    """Do what is asked; UsageError, and nothing done, where it cannot be. `kits` are the names of those installed."""
    try:
        rows = world.writer.rows("SELECT id FROM user WHERE name=?", (ask.by,))
        person = rows[0][0] if rows else 0
        desk = _Desk(world=world, group=group, key=key, now_ms=now_ms, person=person, kits=kits)
        return c.Done(value=_HANDLERS[type(ask.command)](desk, ask.command))
    except (CodecError, OverflowError, UnicodeEncodeError) as error:
        raise UsageError(f"the store has numbers of 64 bits and texts of Unicode only: {error}") from error


def mqtt_password_hash(password: str) -> str:
    """The password in mosquitto's file form ($7$: PBKDF2-SHA512). 101 rounds, as mosquitto's own tool: the passwords
    are 192 random bits, which no number of rounds would make harder to guess.
    """
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _add_user(desk: _Desk, command: c.AddUser) -> dict[str, str]:
    if command.role not in _ROLES:
        raise UsageError(f"a user is owner or tenant, not {command.role}")
    if command.language not in _LANGUAGES:
        raise UsageError(f"the pages speak id or en, not {command.language}")
    _need_name(command.name, "a user")
    if not command.password_hash.startswith("$argon2"):
        raise UsageError("the password has to come as an argon2 hash")
    if desk.writer.rows("SELECT 1 FROM user WHERE name=?", (command.name,)):
        raise UsageError(f"there is a user {command.name} already; choose another name or set a new password")
    secret = {"password_hash": command.password_hash, "language": command.language}
    desk.act("add_user", desk.next_id("user"), command.role, name=command.name, **secret)
    return {}


def _set_password(desk: _Desk, command: c.SetPassword) -> dict[str, str]:
    _user_id(desk, command.name)
    if not command.password_hash.startswith("$argon2"):
        raise UsageError("the password has to come as an argon2 hash")
    desk.writer.execute(
        "UPDATE user SET password_hash=?, session_version=session_version+1 WHERE name=?",
        (command.password_hash, command.name),
    )
    return {}


def _add_room(desk: _Desk, command: c.AddRoom) -> dict[str, str]:
    _need_name(command.name, "a room")
    if desk.writer.rows("SELECT 1 FROM room WHERE name=?", (command.name,)):
        raise UsageError(f"there is a room {command.name} already")
    room = desk.next_id("room")
    desk.act("add_room", room, name=command.name)
    return {"room": str(room)}


def _start_tenancy(desk: _Desk, command: c.StartTenancy) -> dict[str, str]:
    room_id = _room_id(desk, command.room)
    user_id = _user_id(desk, command.user)
    if desk.writer.rows("SELECT 1 FROM tenancy WHERE room_id=? AND to_ms IS NULL", (room_id,)):
        raise UsageError(f"somebody lives in {command.room}; end that tenancy first")
    from_ms = desk.now_ms if command.from_ms is None else command.from_ms
    tenancy = desk.next_id("tenancy")
    desk.act("start_tenancy", tenancy, room_id, user_id, from_ms)
    return {"tenancy": str(tenancy)}


def _end_tenancy(desk: _Desk, command: c.EndTenancy) -> dict[str, str]:
    room_id = _room_id(desk, command.room)
    row_id = desk.one(
        "SELECT id FROM tenancy WHERE room_id=? AND to_ms IS NULL", room_id, otherwise=f"nobody lives in {command.room}"
    )[0]
    desk.act("end_tenancy", row_id, room_id)
    return {}


def _adopt_device(desk: _Desk, command: c.AdoptDevice) -> dict[str, str]:
    public_key = _hex(command.public_key, 32, "a public key has 64 hex digits")
    key_id = device_id(public_key)
    if key_id in desk.world.devices:
        raise UsageError(f"the device {key_id.hex()} is adopted already")
    _need_name(command.name, "a device")
    if not crypto_core_ed25519_is_valid_point(public_key):
        raise UsageError("this is no public key that a device can have; `terang edge key` prints the device's")
    password = secrets.token_urlsafe(24)
    desk.act("adopt_device", key_id, public_key, name=command.name, password_hash=mqtt_password_hash(password))
    return {"device": key_id.hex(), "password": password, "platform_key": desk.key.public.hex()}


def _confirm_binding(desk: _Desk, command: c.ConfirmBinding) -> dict[str, str]:
    device = _device(desk, command.device)
    found = desk.writer.rows(
        "SELECT t.id, t.room_id FROM placement p JOIN meter m ON m.id = p.meter_id JOIN tenancy t"
        " ON t.room_id = p.room_id WHERE m.device_id=? AND m.address=? AND p.to_ms IS NULL AND t.to_ms IS NULL"
        " AND t.user_id=?",
        (device.id, command.address, desk.person),
    )
    if not found:
        raise UsageError("only who lives in a room can confirm the meter that measures it now")
    tenancy, room = found[0]
    desk.act("confirm_binding", device.key_id, command.address, room, tenancy)
    return {"tenancy": str(tenancy)}


def _new_login(desk: _Desk, command: c.NewLogin) -> dict[str, str]:
    device = _device(desk, command.device)
    if device.revoked:
        raise UsageError(f"the device {command.device} is revoked, and gets no login any more")
    password = secrets.token_urlsafe(24)
    desk.writer.execute("UPDATE device SET mqtt_password_hash=? WHERE id=?", (mqtt_password_hash(password), device.id))
    return {"device": device.key_id.hex(), "password": password, "platform_key": desk.key.public.hex()}


def _revoke_device(desk: _Desk, command: c.RevokeDevice) -> dict[str, str]:
    device = _device(desk, command.device)
    if device.revoked:
        raise UsageError(f"the device {command.device} is revoked already")
    desk.act("revoke_device", device.key_id, reason=command.reason[:200])
    return {}


def _place_meter(desk: _Desk, command: c.PlaceMeter) -> dict[str, str]:
    device = _device(desk, command.device)
    room_id = _room_id(desk, command.room)
    if not 0 <= command.address < 1 << 32:
        raise UsageError("a meter's address is a number from 0 up")
    if command.kit not in desk.kits:
        raise UsageError(f"there is no kit {command.kit}; there are {', '.join(sorted(desk.kits))}")
    meter = desk.world.meter(device, command.address, command.kit)
    if meter.kit != command.kit:
        raise UsageError(f"the meter at address {command.address} is of the kit {meter.kit}, which stays as it is")
    desk.act("place_meter", device.key_id, command.address, room_id, command.kit)
    return {"meter": str(meter.id)}


def _decide_step(desk: _Desk, command: c.DecideStep) -> dict[str, str]:
    meter_id, from_ms, to_ms, provisional, reason, counted = desk.one(
        "SELECT meter_id, from_ms, to_ms, provisional_mwh, reason, counted_mwh FROM step WHERE id=?",
        command.step,
        otherwise=f"there is no step {command.step} to decide; late readings may have settled it",
    )
    if counted is not None:
        raise UsageError(f"step {command.step} is decided already")
    if not 0 <= command.counted_mwh <= 1 << 40:
        raise UsageError("the energy that is counted is a number of mWh, 0 or more")
    meter = next(meter for meter in desk.world.meters.values() if meter.id == meter_id)
    name = desk.writer.rows("SELECT name FROM user WHERE id=?", (desk.person,))
    decided = (from_ms, to_ms, provisional, reason, command.counted_mwh)
    by = name[0][0] if name else "cli"
    desk.act("decide_step", meter.device.key_id, meter.address, *decided, decided_by=by)
    return {}


def _ack_notice(desk: _Desk, command: c.AckNotice) -> dict[str, str]:
    desk.one("SELECT 1 FROM notice WHERE id=?", command.notice, otherwise=f"there is no notice {command.notice}")
    desk.writer.execute("UPDATE notice SET seen_ms=? WHERE id=? AND seen_ms IS NULL", (desk.now_ms, command.notice))
    return {}


def _watch(_desk: _Desk, _command: c.Watch) -> dict[str, str]:
    return {}  # nothing to store: the core tells the ledger to hurry


def _need_name(name: str, what: str) -> None:
    if not name or len(name) > _NAME_LENGTH:
        raise UsageError(f"{what} needs a name of 1 to {_NAME_LENGTH} characters")
    if name != name.strip() or not name.isprintable():
        raise UsageError(f"{what} needs a name of printable characters, with no space before or after it")


def _user_id(desk: _Desk, name: str) -> int:
    return int(desk.one("SELECT id FROM user WHERE name=?", name, otherwise=f"there is no user {name}")[0])


def _room_id(desk: _Desk, name: str) -> int:
    return int(desk.one("SELECT id FROM room WHERE name=?", name, otherwise=f"there is no room {name}")[0])


def _device(desk: _Desk, text: str) -> Device:
    device = desk.world.devices.get(_hex(text, 16, "a device's id has 32 hex digits"))
    if device is None:
        raise UsageError(f"there is no device {text}; `terang device list` shows them")
    return device


def _hex(text: str, size: int, otherwise: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError as error:
        raise UsageError(otherwise) from error
    if len(value) != size:
        raise UsageError(otherwise)
    return value


_HANDLERS: dict[type, Callable[[_Desk, Any], dict[str, str]]] = {
    c.AddUser: _add_user,
    c.SetPassword: _set_password,
    c.AddRoom: _add_room,
    c.StartTenancy: _start_tenancy,
    c.EndTenancy: _end_tenancy,
    c.AdoptDevice: _adopt_device,
    c.ConfirmBinding: _confirm_binding,
    c.NewLogin: _new_login,
    c.RevokeDevice: _revoke_device,
    c.PlaceMeter: _place_meter,
    c.DecideStep: _decide_step,
    c.AckNotice: _ack_notice,
    c.Watch: _watch,
}
