"""What every page handler works with, handed in by name as `parts`."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias
from zoneinfo import ZoneInfo

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from terang.page.cards import KitPages
from terang.reader import Source
from terang.values.clock import Clock
from terang.web.core import CoreClient
from terang.web.limits import LoginLimiter
from terang.web.live import LiveHub
from terang.web.sessions import Sessions
from terang.web.settings import WebSettings

__all__ = ["Asked", "Connection", "MaybeNumber", "Number", "Parts", "Wired"]

Asked: TypeAlias = Request[Any, Any, Any]
"""A request; who asks is found by `access.visitor_of`."""

Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]
"""What guards and middleware get: a request or its beginning."""


Number: TypeAlias = Annotated[int, QueryParameter(ge=0, lt=2**53)]
"""A number in a query: what every store and every browser can hold."""

MaybeNumber: TypeAlias = Annotated[int | None, QueryParameter(ge=0, lt=2**53)]
"""The same, where it may be left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The web process in one piece."""

    settings: WebSettings
    source: Source
    core: CoreClient
    clock: Clock
    sessions: Sessions
    limiter: LoginLimiter
    live: LiveHub
    kits: tuple[KitPages, ...]

    def zone(self) -> ZoneInfo:
        """The site's time zone."""
        return ZoneInfo(self.source.site().time_zone)


Wired: TypeAlias = NamedDependency[Parts]
"""How a handler asks for the Parts."""
