"""Who may see what. Whatever a person may not see does not exist for them: 404, in the same words as for what is not.

Owners see the house. A tenant sees the rooms of the own tenancy, from its first day on.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from anyio import to_thread
from litestar.exceptions import NotAuthorizedException, NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from terang.page.periods import hour_ceiling, hour_floor
from terang.reader import MeterRef, RecordDetail, Room, Source, User
from terang.web.parts import Connection, Parts
from terang.web.sessions import COOKIE, Session

__all__ = [
    "NUMBER_MAX",
    "OWNER",
    "SessionMiddleware",
    "Visitor",
    "client_address",
    "current_user",
    "hours_since_ms",
    "may_see_record",
    "meter_for",
    "needs_owner",
    "needs_person",
    "room_for",
    "rooms_for",
    "safe_next",
    "since_ms",
    "visitor_of",
]

OWNER = "owner"
NUMBER_MAX = 2**53
"""The largest number that an address or a query may carry: what every store and every browser can hold."""

_NEXT_MAX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """A person who has logged in, with the session that says so."""

    user: User
    session: Session

    @property
    def is_owner(self) -> bool:
        """Whether the whole house is theirs to see."""
        return self.user.role == OWNER


def current_user(parts: Parts, session: Session | None) -> User | None:
    """The person of a session, read from the store each time: None as soon as it no longer holds."""
    if session is None:
        return None
    user = parts.source.user_by_name(session.user_name)
    return user if user is not None and user.session_version == session.version else None


class SessionMiddleware(AbstractAuthenticationMiddleware):
    """Puts a Visitor, or None, into `request.user`."""

    async def authenticate_request(self, connection: Connection) -> AuthenticationResult:
        """Open the cookie, ask the store whether it still holds."""
        parts: Parts = connection.app.state.parts
        cookie = connection.cookies.get(COOKIE)
        session = parts.sessions.open(cookie, parts.clock.now_ms()) if cookie else None
        if session is None:
            return AuthenticationResult(user=None, auth=None)
        user = await to_thread.run_sync(current_user, parts, session)
        visitor = Visitor(user=user, session=session) if user is not None else None
        return AuthenticationResult(user=visitor, auth=None)


def visitor_of(request: Connection) -> Visitor:
    """Who asks; NotAuthorized where nobody has logged in."""
    visitor = request.scope.get("user")
    if not isinstance(visitor, Visitor):
        raise NotAuthorizedException
    return visitor


def needs_person(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: somebody must have logged in."""
    visitor_of(connection)


def needs_owner(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: for anybody but an owner there is nothing here."""
    if not visitor_of(connection).is_owner:
        raise NotFoundException


def rooms_for(source: Source, user: User) -> list[Room]:
    """The rooms that a person may see."""
    return source.rooms() if user.role == OWNER else source.rooms_of(user.id)


def room_for(source: Source, user: User, room_id: int) -> Room:
    """One room; NotFound alike for a room that is not and one that is another's."""
    if not 0 <= room_id < NUMBER_MAX:
        raise NotFoundException
    for room in [source.room(room_id)] if user.role == OWNER else source.rooms_of(user.id):
        if room is not None and room.id == room_id:
            return room
    raise NotFoundException


def meter_for(room: Room, meter_id: int | None) -> MeterRef | None:
    """The asked meter of a room, of now or before, or its first; None where it has none, NotFound for another's."""
    if meter_id is None:
        return room.meters[0] if room.meters else None
    for meter in (*room.meters, *room.past[::-1]):
        if meter.id == meter_id:
            return meter
    raise NotFoundException


def since_ms(user: User, room: Room) -> int:
    """From when on a person may see this room's past: a tenant from moving in, an owner always."""
    if user.role == OWNER:
        return 0
    if room.tenancy is None or room.tenancy.user_id != user.id:
        raise NotFoundException
    return room.tenancy.from_ms


def hours_since_ms(source: Source, user: User, room: Room) -> int:
    """From which hour on the hourly sums of this room are a person's own.

    The hour of moving in counts only if no reading of these meters is older: else it holds a part of the tenant before.
    """
    since = since_ms(user, room)
    if since and any(_has_older(source, meter, since) for meter in (*room.meters, *room.past)):
        return hour_ceiling(since)
    return hour_floor(since)


def _has_older(source: Source, meter: MeterRef, before_ms: int) -> bool:
    from_ms, to_ms = meter.within(0, before_ms)
    return any(row.time_ms >= from_ms for row in source.readings(meter.id, to_ms, 1))


def may_see_record(source: Source, user: User, record: RecordDetail) -> bool:
    """Whether this record of the log is of a person's own room and time."""
    if user.role == OWNER:
        return True
    return any(
        room.id == record.room_id and record.from_ms >= since_ms(user, room) for room in source.rooms_of(user.id)
    )


def safe_next(path: str | None) -> str:
    """Where to go after logging in: a path of these pages, else the first page. Never another site."""
    if not path or len(path) > _NEXT_MAX or not path.startswith("/") or path.startswith("//"):
        return "/"
    if "\\" in path or any(ord(letter) <= ord(" ") or ord(letter) > ord("~") for letter in path):
        return "/"
    parts = urlsplit(path)
    return "/" if parts.scheme or parts.netloc or parts.path in ("/login", "/logout") else path


def client_address(connection: Connection, proxies: frozenset[str]) -> str:
    """Who asks: the peer, or whom our own proxies name last in X-Forwarded-For beside themselves."""
    address = connection.client.host if connection.client else "unknown"
    forwarded = [part.strip() for part in connection.headers.get("x-forwarded-for", "").split(",")]
    while address in proxies and forwarded:
        address = forwarded.pop() or address
    return address
