"""What an act does to the store: the same whether a person asks for it now or the log is read back from the chain.

An act in the log names people and rooms by number only. What it leaves out on purpose, names and logins, is `Unsaid`
and never leaves the store.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from terang.kit import Step
from terang.store.group import Group
from terang.store.schema import ACCEPTED
from terang.timeline import decide
from terang.values.act import Act, sign_act
from terang.values.errors import StoreError
from terang.values.record import ACT, leaf_hash
from terang.values.signing import KeyPair
from terang.world import Device, Meter, World

__all__ = ["Unsaid", "record_act", "take_act"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsaid:
    """What an act does not say: the `name` of a device, room or person, logins, why one was revoked, who decided."""

    name: str = ""
    password_hash: str = ""
    language: str = "id"
    reason: str = ""
    decided_by: str = "cli"


@dataclass(slots=True)
class _Taking:
    """One act on its way into the store."""

    world: World
    group: Group
    act: Act
    position: int
    unsaid: Unsaid

    def execute(self, sql: str, *values: Any) -> int:
        return self.world.writer.execute(sql, values)

    def device(self, key_id: bytes) -> Device:
        device = self.world.devices.get(bytes(key_id))
        if device is None:
            raise StoreError(f"record {self.position} is about the device {bytes(key_id).hex()}, which nobody adopted")
        return device


def record_act(world: World, group: Group, key: KeyPair, act: Act, unsaid: Unsaid) -> int:
    """Sign an act, put it at the end of the log and do what it says; its position."""
    return take_act(world, group, sign_act(key, act), act, unsaid)


def take_act(world: World, group: Group, data: bytes, act: Act, unsaid: Unsaid) -> int:
    """Put the bytes of a signed act at the end of the log and do what it says; its position."""
    position = world.next_position
    world.next_position = position + 1
    group.records.append((position, ACT, leaf_hash(ACT, data), act.at_ms, None, None, None, None, ACCEPTED, None))
    group.held.append((position, data))
    effect = _EFFECTS.get(act.name)
    if effect is None:
        raise StoreError(f"record {position} is an act of a newer Terang: {act.name}")
    group.flush(world.writer)  # what an act changes may only just have come
    effect(_Taking(world, group, act, position, unsaid), *act.values)
    return position


def _add_user(taking: _Taking, user: int, role: str) -> None:
    unsaid = taking.unsaid
    taking.execute(
        "INSERT INTO user(id, name, password_hash, role, language, session_version) VALUES(?,?,?,?,?,1)",
        *(user, unsaid.name, unsaid.password_hash, role, unsaid.language),
    )


def _add_room(taking: _Taking, room: int) -> None:
    taking.execute("INSERT INTO room(id, name) VALUES(?,?)", room, taking.unsaid.name)


def _start_tenancy(taking: _Taking, tenancy: int, room: int, user: int, from_ms: int) -> None:
    taking.execute("INSERT INTO tenancy(id, room_id, user_id, from_ms) VALUES(?,?,?,?)", tenancy, room, user, from_ms)


def _end_tenancy(taking: _Taking, tenancy: int, _room_id: int) -> None:
    taking.execute("UPDATE tenancy SET to_ms=? WHERE id=?", taking.act.at_ms, tenancy)


def _adopt_device(taking: _Taking, key_id: bytes, public_key: bytes) -> None:
    unsaid = taking.unsaid
    row_id = taking.execute(
        "INSERT INTO device(name, key_id, public_key, mqtt_password_hash, adopted_ms) VALUES(?,?,?,?,?)",
        *(unsaid.name, key_id, public_key, unsaid.password_hash, taking.act.at_ms),
    )
    taking.world.devices[key_id] = Device(row_id, key_id, public_key, unsaid.name, revoked=False)


def _revoke_device(taking: _Taking, key_id: bytes) -> None:
    device = taking.device(key_id)
    taking.execute(
        "UPDATE device SET revoked_ms=?, revoke_reason=? WHERE id=?",
        *(taking.act.at_ms, taking.unsaid.reason, device.id),
    )
    device.revoked = True


def _place_meter(taking: _Taking, key_id: bytes, address: int, room_id: int, kit: str) -> None:
    meter = taking.world.meter(taking.device(key_id), address, kit)
    taking.execute("UPDATE placement SET to_ms=? WHERE meter_id=? AND to_ms IS NULL", taking.act.at_ms, meter.id)
    taking.execute(
        "INSERT INTO placement(meter_id, room_id, from_ms) VALUES(?,?,?)", meter.id, room_id, taking.act.at_ms
    )


def _confirm_binding(taking: _Taking, key_id: bytes, address: int, _room: int, tenancy: int) -> None:
    taking.execute(
        "INSERT OR REPLACE INTO confirmation(tenancy_id, meter_id, at_ms) VALUES(?,?,?)",
        *(tenancy, _meter(taking, key_id, address).id, taking.act.at_ms),
    )


def _decide_step(
    taking: _Taking, key_id: bytes, address: int, from_ms: int, to_ms: int, provisional: int, reason: str, counted: int
) -> None:
    meter = _meter(taking, key_id, address)
    decide(taking.group, meter, Step(from_ms, to_ms, 0, provisional, reason), counted, 1)
    taking.execute(
        "UPDATE step SET counted_mwh=?, decided_by=?, decided_ms=?, decided_in=?"
        " WHERE meter_id=? AND from_ms=? AND to_ms=? AND reason=?",
        *(counted, taking.unsaid.decided_by, taking.act.at_ms, taking.position),
        *(meter.id, from_ms, to_ms, reason),
    )
    taking.world.writer.put_latest([meter.row()])


def _meter(taking: _Taking, key_id: bytes, address: int) -> Meter:
    meter = taking.world.meters.get((taking.device(key_id).id, address))
    if meter is None:
        raise StoreError(f"record {taking.position} is about meter {address} of a device that has no such meter")
    return meter


_EFFECTS: dict[str, Callable[..., None]] = {
    "add_user": _add_user,
    "add_room": _add_room,
    "start_tenancy": _start_tenancy,
    "end_tenancy": _end_tenancy,
    "adopt_device": _adopt_device,
    "revoke_device": _revoke_device,
    "place_meter": _place_meter,
    "confirm_binding": _confirm_binding,
    "decide_step": _decide_step,
}
