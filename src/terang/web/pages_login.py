"""Coming in, going out, choosing the language."""

from typing import Annotated

from anyio import CapacityLimiter, to_thread
from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Redirect

from terang.page import texts as language
from terang.reader import User
from terang.web.access import Visitor, client_address, safe_next, visitor_of
from terang.web.parts import Asked, Parts, Wired
from terang.web.passwords import check_password
from terang.web.render import LANGUAGE_COOKIE, render
from terang.web.sessions import COOKIE

__all__ = ["Form", "login_handlers"]

Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]
"""A posted form; the CSRF field has been checked before."""

_YEAR_S = 31_536_000
_NAME_MAX = 100
# One argon2 hash takes 64 MiB and a core for a moment: a crowd at the door waits in line.
_AT_ONCE = CapacityLimiter(2)


# Not sync_to_thread: Litestar wraps a handler twice whose path has a second method, and then answers a coroutine.
@get("/login", include_in_schema=False)
async def login_page(request: Asked, parts: Wired) -> Response[str] | Redirect:
    """The form, or on to where one wanted to go."""
    following = safe_next(request.query_params.get("next"))
    if isinstance(request.scope.get("user"), Visitor):
        return Redirect(following, status_code=303)
    return await to_thread.run_sync(_form, parts, request, following)


@post("/login", include_in_schema=False)
async def login(request: Asked, parts: Wired, data: Form) -> Response[str] | Redirect:
    """Check the password; say no more than that name or password is wrong."""
    name, password = data.get("name", "").strip()[:_NAME_MAX], data.get("password", "")
    following = safe_next(data.get("next"))
    address = client_address(request, parts.settings.proxies)
    wait_ms = parts.limiter.begin(name, address, parts.clock.monotonic_ms())
    user = None if wait_ms else await to_thread.run_sync(_checked, parts, name, password, limiter=_AT_ONCE)
    if user is None:
        return await to_thread.run_sync(_again, parts, request, following, name, wait_ms)
    parts.limiter.succeeded(name, address)
    cookie = Cookie(
        key=COOKIE,
        value=parts.sessions.start(user, parts.clock.now_ms()),
        max_age=parts.sessions.max_age_s,
        httponly=True,
        secure=parts.settings.https,
        samesite="lax",
    )
    return Redirect(following, status_code=303, cookies=[cookie])


def _form(parts: Parts, request: Asked, following: str) -> Response[str]:
    return render(parts, request, "login.html", following=following, name="", problem=None)


def _checked(parts: Parts, name: str, password: str) -> User | None:
    user = parts.source.user_by_name(name)
    return user if check_password(user.password_hash if user else None, password) else None


def _again(parts: Parts, request: Asked, following: str, name: str, wait_ms: int) -> Response[str]:
    minutes = -(-wait_ms // 60_000)
    problem = ("login.wait", {"minutes": minutes}) if wait_ms else ("login.wrong", {})
    answer = render(
        parts, request, "login.html", status=429 if wait_ms else 401, following=following, name=name, problem=problem
    )
    if wait_ms:
        answer.headers["Retry-After"] = str(-(-wait_ms // 1000))
    return answer


@post("/logout", include_in_schema=False, sync_to_thread=True)
def logout(request: Asked, parts: Wired) -> Redirect:
    """End this session, here and for whoever else holds its cookie."""
    if isinstance(request.scope.get("user"), Visitor):
        parts.sessions.end(visitor_of(request).session, parts.clock.now_ms())
    gone = Cookie(key=COOKIE, value="", max_age=0, httponly=True, secure=parts.settings.https, samesite="lax")
    return Redirect("/login", status_code=303, cookies=[gone])


@post("/language", include_in_schema=False, sync_to_thread=False)
def choose_language(parts: Wired, data: Form) -> Redirect:
    """Remember the language on this browser for a year."""
    chosen = data.get("language")
    cookies = []
    if chosen in language.LANGUAGES:
        cookies.append(
            Cookie(
                key=LANGUAGE_COOKIE,
                value=chosen,
                max_age=_YEAR_S,
                httponly=True,
                secure=parts.settings.https,
                samesite="lax",
            )
        )
    back = data.get("back", "/")
    return Redirect(back if back.startswith("/login") else safe_next(back), status_code=303, cookies=cookies)


login_handlers = [login_page, login, logout, choose_language]
