"""What only an owner sees and does: devices, refused envelopes, notices, steps to be decided."""

from anyio import to_thread
from litestar import Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect

from terang.page.numbers import parse_kwh
from terang.values.command import AckNotice, DecideStep, RevokeDevice
from terang.web.access import needs_owner
from terang.web.asking import carry_out
from terang.web.pages_login import Form
from terang.web.pages_rooms import overview
from terang.web.parts import Asked, Parts, Wired
from terang.web.render import render, texts_of

__all__ = ["owner_handlers"]

_REFUSED_ROWS = 100
_REASON_MAX = 200


@get("/devices", include_in_schema=False, guards=[needs_owner], sync_to_thread=True)
def devices_page(request: Asked, parts: Wired) -> Response[str]:
    """Every device: when it was last heard, what is missing, what it declared lost."""
    return _devices(request, parts)


def _devices(request: Asked, parts: Parts, *, status: int = 200, problem: str | None = None) -> Response[str]:
    rooms_by_device: dict[str, list[str]] = {}
    for room in parts.source.rooms():
        for meter in room.meters:
            rooms_by_device.setdefault(meter.device, []).append(room.name)
    return render(
        parts,
        request,
        "devices.html",
        active="devices",
        status=status,
        problem=problem,
        devices=parts.source.devices(),
        rooms_by_device=rooms_by_device,
        silent_s=parts.settings.silent_s,
    )


@get("/refused", include_in_schema=False, guards=[needs_owner], sync_to_thread=True)
def refused_page(request: Asked, parts: Wired) -> Response[str]:
    """Envelopes that were not taken as readings, with their reasons."""
    return render(
        parts,
        request,
        "refused.html",
        active="refused",
        rows=parts.source.refused(_REFUSED_ROWS),
        counts=sorted(parts.source.refused_counts().items(), key=lambda item: (-item[1], item[0])),
        names={device.id: device.name for device in parts.source.devices()},
    )


@get("/notices", include_in_schema=False, guards=[needs_owner], sync_to_thread=True)
def notices_page(request: Asked, parts: Wired) -> Response[str]:
    """What somebody should know, open ones first, and the steps decided so far."""
    return _notices(request, parts)


def _notices(request: Asked, parts: Parts, *, status: int = 200, problem: str | None = None) -> Response[str]:
    notices = parts.source.notices(open_only=False)
    return render(
        parts,
        request,
        "notices.html",
        active="notices",
        status=status,
        problem=problem,
        open=[notice for notice in notices if notice.seen_ms is None],
        seen=[notice for notice in notices if notice.seen_ms is not None],
        decided=[step for step in parts.source.steps(open_only=False) if step.decided_ms is not None],
        rooms_by_meter={meter.id: room for room in parts.source.rooms() for meter in room.meters},
    )


@post("/notices/{notice:int}/seen", include_in_schema=False, guards=[needs_owner])
async def see_notice(request: Asked, parts: Wired, notice: FromPath[int], data: Form) -> Response[str] | Redirect:
    """A person has seen this notice."""
    rows = await to_thread.run_sync(lambda: parts.source.notices(open_only=False))
    if all(row.id != notice for row in rows):
        raise NotFoundException
    back = "/" if data.get("back") == "/" else "/notices"
    return await carry_out(request, parts, AckNotice(notice=notice), f"{back}?done=seen", _notices)


@post("/steps/{step:int}", include_in_schema=False, guards=[needs_owner])
async def decide_step(request: Asked, parts: Wired, step: FromPath[int], data: Form) -> Response[str] | Redirect:
    """How much of a provisional step was really used: all, nothing, or what the person typed."""
    rows = await to_thread.run_sync(lambda: parts.source.steps(open_only=True))
    row = next((row for row in rows if row.id == step), None)
    if row is None:
        raise NotFoundException
    texts = await to_thread.run_sync(texts_of, parts, request)
    typed = parse_kwh(data.get("kwh", ""), texts.language)
    counted = {"count": row.provisional_mwh, "ignore": 0, "other": typed}.get(data.get("choice", ""))
    if counted is None or counted > row.provisional_mwh:
        problem = texts("step.wrong_amount")
        return await to_thread.run_sync(lambda: overview(request, parts, status=400, problem=problem, step=step))
    command = DecideStep(step=step, counted_mwh=counted)
    return await carry_out(request, parts, command, "/?done=decided", overview)


@post("/devices/{device:str}/revoke", include_in_schema=False, guards=[needs_owner])
async def revoke_device(request: Asked, parts: Wired, device: FromPath[str], data: Form) -> Response[str] | Redirect:
    """Take nothing more from a device."""
    known = await to_thread.run_sync(parts.source.devices)
    if all(row.id != device for row in known):
        raise NotFoundException
    reason = " ".join(data.get("reason", "").split())[:_REASON_MAX]
    texts = await to_thread.run_sync(texts_of, parts, request)
    if not reason or data.get("sure") != "yes":
        return await to_thread.run_sync(
            lambda: _devices(request, parts, status=400, problem=texts("device.revoke.incomplete"))
        )
    return await carry_out(
        request, parts, RevokeDevice(device=device, reason=reason), "/devices?done=revoked", _devices
    )


owner_handlers = [devices_page, refused_page, notices_page, see_notice, decide_step, revoke_device]
