"""Who lives where since when, and which meter measured which room: the tables against the acts in the log."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from terang.audit.findings import Findings
from terang.store.reader import StoreReader
from terang.values.act import Act

__all__ = ["StatedRooms", "check_rooms"]

_Row = tuple[Any, ...]


@dataclass(slots=True)
class StatedRooms:
    """What the acts of the log say of rooms and people, as the rows that they make."""

    users: dict[Any, _Row] = field(default_factory=dict)  # number -> role
    rooms: dict[Any, _Row] = field(default_factory=dict)
    tenancies: dict[Any, _Row] = field(default_factory=dict)  # number -> room, user, from, to
    confirmations: dict[Any, _Row] = field(default_factory=dict)  # (tenancy, device, address) -> when
    placements: list[_Row] = field(default_factory=list)  # device, address, room, from, to; in the order of the log

    def take(self, act: Act) -> None:
        """One act more; of other things than rooms and people it says nothing here."""
        take = _TAKE.get(act.name)
        if take is not None:
            take(self, act)


def _add_user(stated: StatedRooms, act: Act) -> None:
    user, role = act.values
    stated.users[user] = (role,)


def _add_room(stated: StatedRooms, act: Act) -> None:
    stated.rooms[act.values[0]] = ()


def _start_tenancy(stated: StatedRooms, act: Act) -> None:
    tenancy, room, user, from_ms = act.values
    stated.tenancies[tenancy] = (room, user, from_ms, None)


def _end_tenancy(stated: StatedRooms, act: Act) -> None:
    tenancy = act.values[0]
    stated.tenancies[tenancy] = (*stated.tenancies[tenancy][:3], act.at_ms)


def _confirm_binding(stated: StatedRooms, act: Act) -> None:
    key_id, address, _room, tenancy = act.values
    stated.confirmations[tenancy, key_id, address] = (act.at_ms,)


def _place_meter(stated: StatedRooms, act: Act) -> None:
    key_id, address, room, _kit = act.values
    for at, row in enumerate(stated.placements):
        if row[:2] == (key_id, address) and row[4] is None:
            stated.placements[at] = (*row[:4], act.at_ms)
    stated.placements.append((key_id, address, room, act.at_ms, None))


_TAKE: dict[str, Callable[[StatedRooms, Act], None]] = {
    "add_user": _add_user,
    "add_room": _add_room,
    "start_tenancy": _start_tenancy,
    "end_tenancy": _end_tenancy,
    "place_meter": _place_meter,
    "confirm_binding": _confirm_binding,
}


def check_rooms(store: StoreReader, stated: StatedRooms, findings: Findings) -> None:
    """Name every user, room, tenancy and placement that is not as the log says, is missing or was slipped in."""
    _compare("user", stated.users, store.rows("SELECT id, role FROM user"), findings)
    _compare("room", stated.rooms, store.rows("SELECT id FROM room"), findings)
    tenancies = store.rows("SELECT id, room_id, user_id, from_ms, to_ms FROM tenancy")
    _compare("tenancy", stated.tenancies, tenancies, findings)
    confirmed = store.rows(
        "SELECT c.tenancy_id, d.key_id, m.address, c.at_ms FROM confirmation c LEFT JOIN meter m ON m.id = c.meter_id"
        " LEFT JOIN device d ON d.id = m.device_id"
    )
    _compare("confirmation", stated.confirmations, [(row[:3], row[3]) for row in confirmed], findings)
    placed = store.rows(
        "SELECT d.key_id, m.address, p.room_id, p.from_ms, p.to_ms FROM placement p LEFT JOIN meter m"
        " ON m.id = p.meter_id LEFT JOIN device d ON d.id = m.device_id ORDER BY p.id"
    )
    said = dict(enumerate(stated.placements, 1))
    _compare("placement", said, [(number, *row) for number, row in enumerate(placed, 1)], findings)


def _compare(table: str, said: dict[Any, _Row], rows: Iterable[_Row], findings: Findings) -> None:
    found = {row[0]: row[1:] for row in rows}
    for number in said.keys() | found.keys():
        if number not in found:
            findings.add(table, f"{table} {number}", "is missing, although it stands in the log")
        elif number not in said:
            findings.add(table, f"{table} {number}", "was slipped in: the log says nothing of it")
        elif said[number] != found[number]:
            findings.add(table, f"{table} {number}", f"is {found[number]} and stands in the log as {said[number]}")
