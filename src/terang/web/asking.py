"""What the form of a page asks of the core, and what the person sees of the answer."""

from collections.abc import Callable

from anyio import to_thread
from litestar import Response
from litestar.response import Redirect

from terang.values.command import Command, Refused
from terang.values.errors import CoreError
from terang.web.access import visitor_of
from terang.web.parts import Asked, Parts
from terang.web.render import texts_of

__all__ = ["carry_out"]


async def carry_out(
    request: Asked, parts: Parts, command: Command, following: str, page: Callable[..., Response[str]]
) -> Response[str] | Redirect:
    """Ask the core; on to `following` when it is done, else the same `page` again with what was said against it."""
    try:
        answer = await parts.core.ask(visitor_of(request).user.name, command)
    except CoreError:
        texts = await to_thread.run_sync(texts_of, parts, request)
        return await to_thread.run_sync(lambda: page(request, parts, status=503, problem=texts("core.no_answer")))
    if isinstance(answer, Refused):
        return await to_thread.run_sync(lambda: page(request, parts, status=409, problem=answer.reason))
    return Redirect(following, status_code=303)
