"""What goes wrong, told alike to everybody: a page for people, JSON for programs, never a traceback.

A 404 has one body whatever its cause, so that it does not tell another's room from one that does not exist.
"""

import logging
from typing import Any
from urllib.parse import urlencode

from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException
from litestar.response import Redirect

from terang.page.texts import DEFAULT, LANGUAGES
from terang.values.errors import TerangError, UsageError
from terang.web.render import LANGUAGE_COOKIE, render_plain, texts_in

__all__ = ["error_handlers"]

_LOG = logging.getLogger(__name__)
_BAD_REQUEST, _UNAUTHORIZED, _SERVER_ERROR, _UNAVAILABLE = 400, 401, 500, 503
_KNOWN = (400, 401, 403, 404, 405, 413, 429, 503)


def _wants_json(request: Request[Any, Any, Any]) -> bool:
    path = request.url.path
    if path.startswith(("/api/", "/live", "/health", "/schema")):
        return True
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _answer(request: Request[Any, Any, Any], status: int, headers: dict[str, str] | None = None) -> Response[Any]:
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    texts = texts_in(chosen if chosen in LANGUAGES else DEFAULT)
    word = str(status) if status in _KNOWN else "500"
    answer: Response[Any]
    if _wants_json(request):
        detail = texts_in("en")(f"error.{word}.text")
        answer = Response({"status_code": status, "detail": detail}, status_code=status, media_type=MediaType.JSON)
    else:
        answer = render_plain("error.html", texts, status=status, word=word)
    answer.headers.update(headers or {})
    return answer


def _on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    if error.status_code == _UNAUTHORIZED and request.method == "GET" and not _wants_json(request):
        query = request.scope.get("query_string", b"").decode("latin-1")
        following = request.url.path + (f"?{query}" if query else "")
        target = "/login" if following == "/" else f"/login?{urlencode({'next': following})}"
        return Redirect(target, status_code=303)
    headers = {name: value for name, value in (error.headers or {}).items() if name in ("Retry-After", "Allow")}
    return _answer(request, error.status_code, headers)


def _on_ours(request: Request[Any, Any, Any], error: TerangError) -> Response[Any]:
    _LOG.error("%s %s: %s", request.method, request.url.path, error)
    return _answer(request, _UNAVAILABLE)


def _on_usage(request: Request[Any, Any, Any], _: UsageError) -> Response[Any]:
    return _answer(request, _BAD_REQUEST)


def _on_any(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    _LOG.exception("%s %s", request.method, request.url.path, exc_info=error)
    return _answer(request, _SERVER_ERROR)


error_handlers: dict[Any, Any] = {
    HTTPException: _on_http,
    UsageError: _on_usage,
    TerangError: _on_ours,
    Exception: _on_any,
}
