"""The first page, and the page of one room."""

from collections.abc import Iterator
from typing import Any

from anyio import to_thread
from litestar import MediaType, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect, Stream

from terang.page.cards import Card, KitPages, Visit
from terang.page.periods import Span, day_of
from terang.page.readings import readings_before
from terang.page.rooms import RoomView
from terang.reader import MeterRef, ReadingRow, User
from terang.values.command import ConfirmBinding
from terang.web import export
from terang.web.access import hours_since_ms, meter_for, needs_person, room_for, rooms_for, since_ms, visitor_of
from terang.web.asking import carry_out
from terang.web.pages_login import Form
from terang.web.parts import Asked, MaybeNumber, Parts, Wired
from terang.web.render import numbers_of, render, render_card, texts_of
from terang.web.rooms import look_at, total_power_mw

__all__ = ["overview", "readings_of", "room_handlers"]

_STEPS_SHOWN, _NOTICES_SHOWN = 5, 5
_LIMIT_MAX = 1_000


def readings_of(
    parts: Parts, user: User, room_id: int, meter: int | None, before: int | None, limit: int
) -> tuple[list[ReadingRow], int | None]:
    """Readings of a room as a person may see them, newest first, and `before` of the page after (None: no more)."""
    room = room_for(parts.source, user, room_id)
    chosen = meter_for(room, meter)
    if chosen is None:
        return [], None
    limit = max(1, min(limit, _LIMIT_MAX))
    return readings_before(parts.source, chosen, before, limit, since_ms(user, room))


@get("/", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def first_page(request: Asked, parts: Wired) -> Response[str] | Redirect:
    """An owner's overview; a tenant's own room."""
    user = visitor_of(request).user
    if not visitor_of(request).is_owner:
        rooms = rooms_for(parts.source, user)
        if len(rooms) == 1:
            return Redirect(f"/rooms/{rooms[0].id}", status_code=303)
    return overview(request, parts)


@get("/overview/rooms", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def overview_rooms(request: Asked, parts: Wired) -> Response[str]:
    """The part of the overview that ages, for a page that stays open."""
    return render(parts, request, "overview_rooms.html", **_overview(request, parts))


def overview(
    request: Asked, parts: Parts, *, status: int = 200, problem: str | None = None, step: int | None = None
) -> Response[str]:
    """The overview page; `problem` is what the core or we had against what was asked, about `step` if it was one."""
    more: dict[str, Any] = {"steps": [], "more_steps": 0, "notices": [], "problem": problem, "problem_step": step}
    if visitor_of(request).is_owner:
        steps = parts.source.steps(open_only=True)
        # The one that was just answered wrongly is shown whatever else waits.
        shown = steps[:_STEPS_SHOWN] + [one for one in steps[_STEPS_SHOWN:] if one.id == step]
        more |= {"steps": shown, "more_steps": len(steps) - len(shown)}
        more["notices"] = parts.source.notices(open_only=True)[:_NOTICES_SHOWN]
        more["rooms_by_meter"] = {meter.id: room for room in parts.source.rooms() for meter in room.meters}
    return render(parts, request, "overview.html", status=status, active="home", **more, **_overview(request, parts))


def _overview(request: Asked, parts: Parts) -> dict[str, Any]:
    user, now_ms, zone = visitor_of(request).user, parts.clock.now_ms(), parts.zone()
    rooms = rooms_for(parts.source, user)
    views = look_at(parts.source, user, rooms, now_ms, zone, parts.settings.silent_s)
    meters = {meter.id for room in rooms for meter in room.meters}
    today = day_of(now_ms, zone)
    delivered = [one for one in parts.source.delivered(today.from_ms, today.to_ms) if one.meter_id in meters]
    return {
        "views": views,
        "power_mw": total_power_mw(views),
        "known": sum(view.power_mw is not None for view in views),
        "month_mwh": _sum([view.month.now_mwh for view in views]),
        "month_provisional_mwh": sum(view.month.provisional_mwh for view in views),
        "month_before_mwh": _sum_before(views),
        "month_before_ms": views[0].month.before_to_ms - 1 if views else now_ms,
        "stored": sum(one.stored for one in delivered),
        "lost": sum(one.lost for one in delivered),
    }


def _sum(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _sum_before(views: list[RoomView]) -> int | None:
    """The earlier month of all rooms that have been heard this month; None if one of them is not known so far back."""
    parts = [view.month.before_mwh for view in views if view.month.now_mwh is not None]
    return None if not parts or None in parts else sum(part or 0 for part in parts)


@get("/rooms/{room_id:int}", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def room_page(request: Asked, parts: Wired, room_id: FromPath[int], meter: MaybeNumber = None) -> Response[str]:
    """One room: what the kits have to say of it, card by card."""
    return _room(request, parts, room_id, meter)


def _room(
    request: Asked, parts: Parts, room_id: int, meter: int | None, *, status: int = 200, problem: str | None = None
) -> Response[str]:
    visit = _visit(request, parts, room_id, meter)
    drawn = [(card, render_card(parts, request, pages, card, visit)) for pages, card in _cards(parts)]
    cards = [(card, html) for card, html in drawn if html is not None]
    several = len(rooms_for(parts.source, visitor_of(request).user)) > 1
    more: dict[str, Any] = {"visit": visit, "cards": cards, "several": several, "problem": problem}
    return render(parts, request, "room.html", status=status, active="home", **more)


@post("/rooms/{room_id:int}/confirm", include_in_schema=False, guards=[needs_person])
async def confirm_binding(request: Asked, parts: Wired, room_id: FromPath[int], data: Form) -> Response[str] | Redirect:
    """Who lives here has compared the code on the meter's box."""
    meter = await to_thread.run_sync(_measuring, parts, visitor_of(request).user, room_id, data.get("meter", ""))
    return await carry_out(
        request,
        parts,
        ConfirmBinding(device=meter.device, address=meter.address),
        f"/rooms/{room_id}?meter={meter.id}&done=confirmed",
        lambda request, parts, **more: _room(request, parts, room_id, meter.id, **more),
    )


def _measuring(parts: Parts, user: User, room_id: int, meter: str) -> MeterRef:
    """The asked meter, if it measures this room now and the room is the person's own; else NotFound."""
    room = room_for(parts.source, user, room_id)
    if room.tenancy is not None and room.tenancy.user_id == user.id:
        for one in room.meters:
            if str(one.id) == meter:
                return one
    raise NotFoundException


@get("/rooms/{room_id:int}/{kit:str}/{card:str}", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def room_card(
    request: Asked,
    parts: Wired,
    room_id: FromPath[int],
    kit: FromPath[str],
    card: FromPath[str],
    meter: MaybeNumber = None,
) -> Response[str]:
    """One card alone, for a page that stays open."""
    visit = _visit(request, parts, room_id, meter)
    for pages, one in _cards(parts):
        if (pages.kit, one.name) == (kit, card):
            html = render_card(parts, request, pages, one, visit)
            if html is not None:
                return Response(str(html), media_type=MediaType.HTML)
    raise NotFoundException


@get("/rooms/{room_id:int}/readings.csv", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def room_csv(request: Asked, parts: Wired, room_id: FromPath[int], meter: MaybeNumber = None) -> Stream:
    """The readings of up to 31 days (`from`, `to`: local dates; else the last seven days) as a file."""
    user = visitor_of(request).user
    room = room_for(parts.source, user, room_id)
    chosen = meter_for(room, meter)
    zone, now_ms = parts.zone(), parts.clock.now_ms()
    span = export.asked_span(request.query_params.get("from"), request.query_params.get("to"), now_ms, zone)
    span = Span(max(span.from_ms, since_ms(user, room)), span.to_ms)
    lines: Iterator[str] = export.csv_lines(parts.source, chosen, span, numbers_of(parts, request))
    name = f"terang-{room_id}-{numbers_of(parts, request).local(span.from_ms).date().isoformat()}.csv"
    return Stream(
        lines,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _cards(parts: Parts) -> list[tuple[KitPages, Card]]:
    """All cards of all kits, in the order of the page."""
    return sorted(
        ((pages, card) for pages in parts.kits for card in pages.cards), key=lambda one: (one[1].place, one[0].kit)
    )


def _visit(request: Asked, parts: Parts, room_id: int, meter: int | None) -> Visit:
    user, now_ms = visitor_of(request).user, parts.clock.now_ms()
    room = room_for(parts.source, user, room_id)
    return Visit(
        source=parts.source,
        room=room,
        meter=meter_for(room, meter),
        view=look_at(parts.source, user, [room], now_ms, parts.zone(), parts.settings.silent_s)[0],
        since_ms=since_ms(user, room),
        hours_since_ms=hours_since_ms(parts.source, user, room),
        now_ms=now_ms,
        query=dict(request.query_params.items()),
        texts=texts_of(parts, request),
        numbers=numbers_of(parts, request),
    )


room_handlers = [first_page, overview_rooms, room_page, confirm_binding, room_card, room_csv]
