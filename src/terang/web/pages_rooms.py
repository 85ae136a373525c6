"""The first page, and the page of one room."""

from collections.abc import Iterator
from typing import Any

from litestar import Response, get
from litestar.params import FromPath
from litestar.response import Redirect, Stream

from terang.reader import ReadingRow, User
from terang.web import charts, export
from terang.web.access import hours_since_ms, meter_for, needs_person, room_for, rooms_for, since_ms, visitor_of
from terang.web.parts import Asked, MaybeNumber, Parts, Wired
from terang.web.periods import Span, day_of
from terang.web.render import numbers_of, render, texts_of
from terang.web.rooms import RoomView, look_at, total_power_mw

__all__ = ["overview", "readings_of", "room_handlers"]

_PAGE_ROWS = 12
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
    since = since_ms(user, room)
    rows = [row for row in parts.source.readings(chosen.id, before, limit + 1) if row.time_ms >= since]
    more = rows[limit - 1].time_ms if len(rows) > limit else None
    return rows[:limit], more


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
def room_page(
    request: Asked, parts: Wired, room_id: FromPath[int], meter: MaybeNumber = None, before: MaybeNumber = None
) -> Response[str]:
    """One room: now, its history, its latest readings."""
    user = visitor_of(request).user
    room = room_for(parts.source, user, room_id)
    chosen = meter_for(room, meter)
    view = look_at(parts.source, user, [room], parts.clock.now_ms(), parts.zone(), parts.settings.silent_s)[0]
    return render(
        parts,
        request,
        "room.html",
        active="home",
        view=view,
        room=room,
        meter=chosen,
        latest=view.latest.get(chosen.id) if chosen else None,
        several=len(rooms_for(parts.source, user)) > 1,
        **_readings(request, parts, room_id, meter, before),
        **_chart(request, parts, view, meter),
    )


@get("/rooms/{room_id:int}/now", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def room_now(request: Asked, parts: Wired, room_id: FromPath[int], meter: MaybeNumber = None) -> Response[str]:
    """The part of the room page that ages."""
    user = visitor_of(request).user
    room = room_for(parts.source, user, room_id)
    chosen = meter_for(room, meter)
    view = look_at(parts.source, user, [room], parts.clock.now_ms(), parts.zone(), parts.settings.silent_s)[0]
    latest = view.latest.get(chosen.id) if chosen else None
    return render(parts, request, "room_now.html", view=view, room=room, meter=chosen, latest=latest)


@get("/rooms/{room_id:int}/readings", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def room_readings(
    request: Asked, parts: Wired, room_id: FromPath[int], meter: MaybeNumber = None, before: MaybeNumber = None
) -> Response[str]:
    """The table of readings alone, for a page that stays open."""
    return render(parts, request, "room_readings.html", **_readings(request, parts, room_id, meter, before))


@get("/rooms/{room_id:int}/chart", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def room_chart(request: Asked, parts: Wired, room_id: FromPath[int], meter: MaybeNumber = None) -> Response[str]:
    """The history alone, for turning its pages in place."""
    user = visitor_of(request).user
    room = room_for(parts.source, user, room_id)
    view = look_at(parts.source, user, [room], parts.clock.now_ms(), parts.zone(), parts.settings.silent_s)[0]
    return render(parts, request, "room_chart.html", room=room, view=view, **_chart(request, parts, view, meter))


@get("/rooms/{room_id:int}/readings.csv", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def room_csv(request: Asked, parts: Wired, room_id: FromPath[int], meter: MaybeNumber = None) -> Stream:
    """The readings of up to 31 days (`from`, `to`: local dates; else the last seven days) as a file."""
    user = visitor_of(request).user
    room = room_for(parts.source, user, room_id)
    chosen = meter_for(room, meter)
    zone, now_ms = parts.zone(), parts.clock.now_ms()
    span = export.asked_span(request.query_params.get("from"), request.query_params.get("to"), now_ms, zone)
    span = Span(max(span.from_ms, since_ms(user, room)), span.to_ms)
    lines: Iterator[str] = export.csv_lines(
        parts.source, chosen.id if chosen else None, span, numbers_of(parts, request)
    )
    name = f"terang-{room_id}-{numbers_of(parts, request).local(span.from_ms).date().isoformat()}.csv"
    return Stream(
        lines,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _readings(request: Asked, parts: Parts, room_id: int, meter: int | None, before: int | None) -> dict[str, Any]:
    user = visitor_of(request).user
    rows, more = readings_of(parts, user, room_id, meter, before, _PAGE_ROWS)
    return {"rows": rows, "older": more, "before": before, "room_id": room_id, "meter_id": meter}


def _chart(request: Asked, parts: Parts, view: RoomView, meter: int | None) -> dict[str, Any]:
    chosen = meter_for(view.room, meter)
    period = request.query_params.get("period", "day")
    chart = None
    if chosen is not None:
        chart = charts.chart_of(
            parts.source,
            chosen.id,
            period=period if period in charts.PERIODS else "day",
            at=request.query_params.get("at"),
            since_ms=since_ms(visitor_of(request).user, view.room),
            hours_since_ms=hours_since_ms(parts.source, visitor_of(request).user, view.room),
            now_ms=parts.clock.now_ms(),
            texts=texts_of(parts, request),
            numbers=numbers_of(parts, request),
        )
    chart_meter = chosen.id if chosen and len(view.room.meters) > 1 else None
    return {"chart": chart, "periods": charts.PERIODS, "chart_meter": chart_meter}


room_handlers = [first_page, overview_rooms, room_page, room_now, room_readings, room_chart, room_csv]
