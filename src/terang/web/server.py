"""The web process put together."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

from litestar import Litestar, Router
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import CacheControlHeader, State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.static_files import create_static_files_router

from terang.page.cards import KitPages
from terang.reader import Source
from terang.values.clock import Clock, SystemClock
from terang.web.access import SessionMiddleware
from terang.web.api import api_handlers
from terang.web.core import CoreClient
from terang.web.errors import error_handlers
from terang.web.headers import security_headers
from terang.web.limits import LoginLimiter
from terang.web.live import LiveHub
from terang.web.pages_ledger import ledger_handlers
from terang.web.pages_live import live_handlers
from terang.web.pages_login import login_handlers
from terang.web.pages_owner import owner_handlers
from terang.web.pages_proof import proof_handlers
from terang.web.pages_rooms import room_handlers
from terang.web.parts import Parts
from terang.web.sessions import Sessions
from terang.web.settings import WebSettings

__all__ = ["STATIC", "create_app"]

STATIC = Path(__file__).parent / "static"
_BODY_MAX = 65_536
_YEAR_S = 31_536_000


def create_app(
    settings: WebSettings,
    source: Source,
    core: CoreClient,
    *,
    kits: tuple[KitPages, ...] = (),
    clock: Clock | None = None,
) -> Litestar:
    """The pages and the API over `source`; `core` carries out commands and tells what is new, `kits` bring cards."""
    sessions = Sessions(settings.state_dir, days=settings.session_days)
    live = LiveHub(
        core,
        clients_max=settings.live_clients_max,
        per_user=settings.live_clients_per_user,
        heartbeat_s=settings.heartbeat_s,
    )
    parts = Parts(
        settings=settings,
        source=source,
        core=core,
        clock=clock or SystemClock(),
        sessions=sessions,
        limiter=LoginLimiter(),
        live=live,
        kits=kits,
    )
    return Litestar(
        route_handlers=[
            *(*login_handlers, *room_handlers, *proof_handlers, *ledger_handlers, *owner_handlers, *live_handlers),
            Router("/api/v1", route_handlers=api_handlers),
            create_static_files_router(
                "/static", [STATIC], cache_control=CacheControlHeader(max_age=_YEAR_S, public=True, immutable=True)
            ),
        ],
        state=State({"parts": parts}),
        dependencies={"parts": Provide(_parts, sync_to_thread=False)},
        middleware=[SessionMiddleware],
        csrf_config=_csrf(sessions.key, https=settings.https),
        exception_handlers=error_handlers,
        before_send=[security_headers(https=settings.https)],
        lifespan=[_listening(live)],
        request_max_body_size=_BODY_MAX,
        openapi_config=OpenAPIConfig(
            title="Terang", version="1", path="/schema", render_plugins=[JsonRenderPlugin(path="/openapi.json")]
        ),
        logging_config=None,
    )


def _parts(state: State) -> Parts:
    parts: Parts = state.parts
    return parts


def _csrf(session_key: bytes, *, https: bool) -> CSRFConfig:
    """A secret of its own, so that the one key on disk serves one purpose only."""
    secret = hashlib.blake2b(b"csrf", key=session_key, digest_size=32).hexdigest()
    return CSRFConfig(
        secret=secret,
        cookie_name="terang_csrf",
        cookie_httponly=True,
        cookie_samesite="strict",
        cookie_secure=https,
    )


def _listening(live: LiveHub) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        task = asyncio.create_task(live.run())
        try:
            yield
        finally:
            live.end()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return lifespan
