"""Rooms as one person may see them, from the Source."""

from zoneinfo import ZoneInfo

from terang.page import periods
from terang.page.rooms import NEVER, ODD, ON, SILENT, Comparison, RoomView, State, state_of
from terang.reader import Latest, Room, Source, Used, User
from terang.web.access import hours_since_ms

__all__ = ["look_at", "total_power_mw"]

_SEVERITY = (ON, NEVER, SILENT, ODD)


def look_at(
    source: Source, user: User, rooms: list[Room], now_ms: int, zone: ZoneInfo, silent_s: int
) -> list[RoomView]:
    """The views of these rooms, as this person may see them."""
    meter_ids = tuple(meter.id for room in rooms for meter in room.meters)
    latest = source.latest(meter_ids)
    views = []
    for room in rooms:
        since = hours_since_ms(source, user, room)
        own = {meter.id: latest[meter.id] for meter in room.meters if meter.id in latest}
        states = [state_of(own.get(meter.id), now_ms, silent_s) for meter in room.meters]
        state = max(states, key=lambda one: (_SEVERITY.index(one.word), one.minutes), default=State(word=NEVER))
        views.append(
            RoomView(
                room=room,
                state=state,
                power_mw=_power_mw(list(own.values())) if state.word == ON else None,
                last_ms=max((one.time_ms or one.received_ms or 0 for one in own.values()), default=0) or None,
                latest=own,
                today=_compare(source, room, "day", now_ms, zone, since),
                month=_compare(source, room, "month", now_ms, zone, since),
            )
        )
    return views


def total_power_mw(views: list[RoomView]) -> int | None:
    """What the rooms draw together that are heard of now, None if none is."""
    known = [view.power_mw for view in views if view.power_mw is not None]
    return sum(known) if known else None


def _power_mw(latest: list[Latest]) -> int | None:
    powers = [one.power_mw for one in latest if one.power_mw is not None]
    return sum(powers) if powers and len(powers) == len(latest) else None


def _compare(source: Source, room: Room, kind: str, now_ms: int, zone: ZoneInfo, since: int) -> Comparison:
    span = (periods.day_of if kind == "day" else periods.month_of)(now_ms, zone)
    earlier = periods.before(span, kind, zone)
    cut_ms = min(earlier.from_ms + periods.hour_floor(now_ms - span.from_ms), earlier.to_ms)
    now = _sum(source, room, max(span.from_ms, since), span.to_ms)
    before = _sum(source, room, earlier.from_ms, cut_ms) if earlier.from_ms >= since else None
    return Comparison(
        now_mwh=now.confirmed_mwh if now else None,
        provisional_mwh=now.provisional_mwh if now else 0,
        before_mwh=before.confirmed_mwh if before else None,
        before_to_ms=cut_ms,
    )


def _sum(source: Source, room: Room, from_ms: int, to_ms: int) -> Used | None:
    if from_ms >= to_ms:
        return None
    used: list[Used] = []
    for meter in (*room.meters, *room.past):
        first, end = meter.hours_within(from_ms, to_ms)
        used += source.used((meter.id,), first, end).values() if first < end else ()
    if not used:
        return None
    return Used(
        confirmed_mwh=sum(one.confirmed_mwh for one in used),
        provisional_mwh=sum(one.provisional_mwh for one in used),
    )
