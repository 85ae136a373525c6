"""The same for programs: JSON under /api/v1, behind the same session and the same rules as the pages."""

from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery, QueryParameter

from terang.page.rooms import RoomView
from terang.reader import (
    BatchRow,
    DeviceRow,
    HourRow,
    Latest,
    LedgerState,
    NoticeRow,
    ReadingRow,
    RefusedRow,
    StepRow,
)
from terang.web.access import hours_since_ms, meter_for, needs_owner, needs_person, room_for, rooms_for, visitor_of
from terang.web.pages_proof import record_for
from terang.web.pages_rooms import readings_of
from terang.web.parts import Asked, MaybeNumber, Number, Parts, Wired
from terang.web.rooms import look_at

__all__ = ["MeterJson", "ReadingsJson", "RefusedJson", "RoomJson", "api_handlers"]

_Limit = Annotated[int, QueryParameter(ge=1, le=1_000)]
_HOURS_MAX_MS = 366 * 86_400_000


class MeterJson(msgspec.Struct, kw_only=True):
    """A meter of a room with what is known last of it."""

    id: int
    device: str
    address: int
    latest: Latest | None


class RoomJson(msgspec.Struct, kw_only=True):
    """A room now. `state`: on, silent, never or implausible. Energy in mWh, None where nothing is known."""

    id: int
    name: str
    tenant: str | None
    state: str
    silent_minutes: int
    power_mw: int | None
    today_mwh: int | None
    today_provisional_mwh: int
    month_mwh: int | None
    month_provisional_mwh: int
    meters: list[MeterJson]


class ReadingsJson(msgspec.Struct, kw_only=True):
    """Readings newest first; ask again with `before_ms` for older ones, None: there are none."""

    readings: list[ReadingRow]
    before_ms: int | None


class RefusedJson(msgspec.Struct, kw_only=True):
    """Envelopes refused, newest first, and how many ever by reason."""

    counts: dict[str, int]
    rows: list[RefusedRow]


@get("/rooms", tags=["rooms"], guards=[needs_person], sync_to_thread=True)
def list_rooms(request: Asked, parts: Wired) -> list[RoomJson]:
    """The rooms that you may see."""
    user = visitor_of(request).user
    return _rooms(look_at(parts.source, user, rooms_for(parts.source, user), *_now(parts)))


@get("/rooms/{room_id:int}", tags=["rooms"], guards=[needs_person], sync_to_thread=True)
def one_room(request: Asked, parts: Wired, room_id: FromPath[int]) -> RoomJson:
    """One room."""
    user = visitor_of(request).user
    room = room_for(parts.source, user, room_id)
    return _rooms(look_at(parts.source, user, [room], *_now(parts)))[0]


@get("/rooms/{room_id:int}/readings", tags=["rooms"], guards=[needs_person], sync_to_thread=True)
def room_readings(
    request: Asked,
    parts: Wired,
    room_id: FromPath[int],
    meter: MaybeNumber = None,
    before_ms: MaybeNumber = None,
    limit: _Limit = 100,
) -> ReadingsJson:
    """Readings of a room, newest first."""
    rows, more = readings_of(parts, visitor_of(request).user, room_id, meter, before_ms, limit)
    return ReadingsJson(readings=rows, before_ms=more)


@get("/rooms/{room_id:int}/hours", tags=["rooms"], guards=[needs_person], sync_to_thread=True)
def room_hours(
    request: Asked, parts: Wired, room_id: FromPath[int], from_ms: Number, to_ms: Number, meter: MaybeNumber = None
) -> list[HourRow]:
    """The hours that begin in a span of at most 366 days; hours of which nothing is known are absent."""
    user = visitor_of(request).user
    room = room_for(parts.source, user, room_id)
    chosen = meter_for(room, meter)
    if chosen is None:
        return []
    since_ms = max(from_ms, hours_since_ms(parts.source, user, room), to_ms - _HOURS_MAX_MS)
    first_ms, end_ms = chosen.hours_within(since_ms, to_ms)
    return parts.source.hours(chosen.id, first_ms, end_ms) if first_ms < end_ms else []


@get("/records/{position:int}/proof", tags=["ledger"], guards=[needs_person], sync_to_thread=True)
def record_proof(request: Asked, parts: Wired, position: FromPath[int]) -> dict[str, Any]:
    """The proof of a record, as `terang verify` takes it."""
    record_for(parts, request, position)
    proof = parts.source.proof(position)
    if proof is None:
        raise NotFoundException
    return proof.document


@get("/ledger", tags=["ledger"], guards=[needs_person], sync_to_thread=True)
def ledger(parts: Wired) -> LedgerState:
    """Log and chain as they stand."""
    return parts.source.ledger()


@get("/batches", tags=["ledger"], guards=[needs_person], sync_to_thread=True)
def batches(parts: Wired, before: MaybeNumber = None, limit: _Limit = 100) -> list[BatchRow]:
    """Batches, newest first."""
    return parts.source.batches(before, limit)


@get("/devices", tags=["house"], guards=[needs_owner], sync_to_thread=True)
def devices(parts: Wired) -> list[DeviceRow]:
    """Every device (owners)."""
    return parts.source.devices()


@get("/refused", tags=["house"], guards=[needs_owner], sync_to_thread=True)
def refused(parts: Wired, limit: _Limit = 100) -> RefusedJson:
    """Envelopes that were not taken as readings (owners)."""
    return RefusedJson(counts=parts.source.refused_counts(), rows=parts.source.refused(limit))


@get("/notices", tags=["house"], guards=[needs_owner], sync_to_thread=True)
def notices(parts: Wired, *, open_only: FromQuery[bool] = True) -> list[NoticeRow]:
    """What somebody should know (owners)."""
    return parts.source.notices(open_only=open_only)


@get("/steps", tags=["house"], guards=[needs_owner], sync_to_thread=True)
def steps(parts: Wired, *, open_only: FromQuery[bool] = True) -> list[StepRow]:
    """Provisional steps of meters' registers (owners)."""
    return parts.source.steps(open_only=open_only)


def _now(parts: Parts) -> tuple[int, Any, int]:
    return parts.clock.now_ms(), parts.zone(), parts.settings.silent_s


def _rooms(views: list[RoomView]) -> list[RoomJson]:
    return [
        RoomJson(
            id=view.room.id,
            name=view.room.name,
            tenant=view.room.tenancy.user_name if view.room.tenancy else None,
            state=view.state.word,
            silent_minutes=view.state.minutes,
            power_mw=view.power_mw,
            today_mwh=view.today.now_mwh,
            today_provisional_mwh=view.today.provisional_mwh,
            month_mwh=view.month.now_mwh,
            month_provisional_mwh=view.month.provisional_mwh,
            meters=[
                MeterJson(id=meter.id, device=meter.device, address=meter.address, latest=view.latest.get(meter.id))
                for meter in view.room.meters
            ],
        )
        for view in views
    ]


api_handlers = [
    *(list_rooms, one_room, room_readings, room_hours, record_proof, ledger, batches),
    *(devices, refused, notices, steps),
]
