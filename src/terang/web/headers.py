"""The headers that every answer carries: nothing is loaded but our own files, nothing is framed, nothing is kept."""

from litestar.datastructures import MutableScopeHeaders
from litestar.types import BeforeMessageSendHookHandler, Message, Scope

__all__ = ["CONTENT_SECURITY_POLICY", "VERIFIER_PATH", "security_headers"]

VERIFIER_PATH = "/verify.html"
"""Where the saved verifier stands; its answer brings a policy of its own, which knows its one inline script by hash."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def security_headers(*, https: bool) -> BeforeMessageSendHookHandler:
    """The hook that adds them; over https browsers are told to stay there for a year."""
    always = dict(_ALWAYS)
    if https:
        always["Strict-Transport-Security"] = "max-age=31536000"

    async def add(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        headers = MutableScopeHeaders.from_message(message)
        for name, value in always.items():
            if scope["path"] != VERIFIER_PATH or name not in headers:
                headers[name] = value
        if not scope["path"].startswith("/static/"):
            headers["Cache-Control"] = "no-store"

    return add
