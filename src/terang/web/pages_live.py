"""The stream that open pages listen to, and the word on whether all is well."""

from anyio import to_thread
from litestar import Response, get
from litestar.exceptions import TooManyRequestsException
from litestar.response import Stream

from terang.reader import User
from terang.values.errors import TerangError
from terang.web.access import current_user, needs_person, rooms_for, visitor_of
from terang.web.live import TooManyClients
from terang.web.parts import Asked, Parts, Wired

__all__ = ["live_handlers"]


def _meters(parts: Parts, user: User) -> frozenset[int] | None:
    """The meters of a person's rooms, None for an owner: all."""
    if user.role == "owner":
        return None
    return frozenset(meter.id for room in rooms_for(parts.source, user) for meter in room.meters)


@get("/live", include_in_schema=False, guards=[needs_person])
async def live(request: Asked, parts: Wired) -> Stream:
    """Server-sent events: `live` readings, `anchored` heads, `core` up or not, `end` when it is no longer allowed."""
    visitor = visitor_of(request)
    meters = await to_thread.run_sync(_meters, parts, visitor.user)

    def may_go_on() -> bool:
        if parts.sessions.is_ended(visitor.session):
            return False
        user = current_user(parts, visitor.session)
        return user is not None and _meters(parts, user) == meters

    async def still() -> bool:
        try:
            return await to_thread.run_sync(may_go_on)
        except TerangError:
            return True  # a store that cannot be read just now says nothing about the person

    try:
        subscription = parts.live.subscribe(visitor.user.name, meters)
    except TooManyClients as error:
        raise TooManyRequestsException(headers={"Retry-After": "30"}) from error
    return Stream(
        parts.live.stream(subscription, still),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


@get("/health", tags=["health"], sync_to_thread=True)
def health(parts: Wired) -> Response[dict[str, bool]]:
    """Whether the store can be read (else 503) and whether the core is heard."""
    try:
        parts.source.site()
    except TerangError:
        return Response({"store": False, "core": parts.core.up}, status_code=503)
    return Response({"store": True, "core": parts.core.up})


live_handlers = [live, health]
