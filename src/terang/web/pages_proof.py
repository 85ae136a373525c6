"""The proof of one reading: what was signed, and what checking it found just now."""

import json
import re
from functools import cache
from importlib import resources

from litestar import MediaType, Response, get
from litestar.background_tasks import BackgroundTask
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from terang.reader import Proof, RecordDetail
from terang.values.command import Watch
from terang.values.errors import CoreError, TerangError
from terang.web.access import NUMBER_MAX, may_see_record, needs_person, visitor_of
from terang.web.headers import VERIFIER_PATH
from terang.web.parts import Asked, MaybeNumber, Number, Parts, Wired
from terang.web.render import render
from terang.web.statement import read_statement

__all__ = ["BROKEN", "HELD", "WAITING", "proof_handlers", "record_for", "ticks_of"]

HELD, WAITING, BROKEN = "held", "waiting", "broken"


def record_for(parts: Parts, request: Asked, position: int) -> RecordDetail:
    """A record of the log; NotFound alike for none and for one that is not this person's to see."""
    record = parts.source.record(position) if 0 <= position < NUMBER_MAX else None
    if record is None or not may_see_record(parts.source, visitor_of(request).user, record):
        raise NotFoundException
    return record


def ticks_of(record: RecordDetail, proof: Proof | None) -> dict[str, str]:
    """`signed`, `logged` and `anchored`, each HELD, WAITING or BROKEN.

    What is not there yet waits; what is there and does not check is broken.
    """
    if proof is None:
        return {"signed": WAITING, "logged": WAITING, "anchored": WAITING}
    in_block = record.block_number is not None or proof.block_number is not None
    return {
        "signed": HELD if proof.signed else BROKEN,
        "logged": HELD if proof.logged else BROKEN,
        "anchored": HELD if proof.anchored else BROKEN if in_block and not proof.unasked else WAITING,
    }


# Two handlers: Litestar wraps one of two paths twice for its thread, and then answers a coroutine.
@get("/proof/{position:int}", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def record_page(request: Asked, parts: Wired, position: FromPath[int]) -> Response[str]:
    """The proof of a record's first reading, or of what else it says."""
    return _page(request, parts, position, 0)


@get("/proof/{position:int}/{index:int}", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def proof_page(request: Asked, parts: Wired, position: FromPath[int], index: FromPath[int]) -> Response[str]:
    """The proof of one reading; opening it asks the core to anchor every second for a while."""
    return _page(request, parts, position, index)


def _page(request: Asked, parts: Parts, position: int, index: int) -> Response[str]:
    record = record_for(parts, request, position)
    statement = read_statement(record.kind, record.data, index)
    if statement is None:
        raise NotFoundException
    proof = parts.source.proof(position, index)
    room = parts.source.room(record.room_id) if record.room_id is not None else None
    page = render(
        parts,
        request,
        "proof.html",
        active="home" if room else "ledger",
        record=record,
        room=room,
        statement=statement,
        proof=proof,
        ticks=ticks_of(record, proof),
    )
    page.background = BackgroundTask(_watch, parts, visitor_of(request).user.name)
    return page


@get("/proof/{position:int}/proof.json", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def proof_file(
    request: Asked, parts: Wired, position: FromPath[int], index: Number = 0, since: MaybeNumber = None
) -> Response[bytes]:
    """The document that `terang verify` checks, as a file; `since` is the size of a head that somebody has kept."""
    record_for(parts, request, position)
    proof = parts.source.proof(position, index, since or None)
    if proof is None:
        raise NotFoundException
    return Response(
        (json.dumps(proof.document, sort_keys=True, separators=(",", ":")) + "\n").encode(),
        media_type=MediaType.JSON,
        headers={"Content-Disposition": f'attachment; filename="terang-proof-{position}.json"'},
    )


@get(VERIFIER_PATH, include_in_schema=False, sync_to_thread=True)
def verifier_page() -> Response[str]:
    """The page that checks a proof without this server, for everybody: whoever saves it needs no login."""
    text, policy = _verifier()
    headers = {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "Content-Disposition": 'inline; filename="terang-verify.html"',
    }
    return Response(text, media_type=MediaType.HTML, headers=headers)


@cache
def _verifier() -> tuple[str, str]:
    """The built page, and the policy that it states for itself."""
    file = resources.files("terang.web").joinpath("static", "verify.html")
    if not file.is_file():
        raise TerangError("the page that checks proofs is not built: run scripts/build_assets")
    text = file.read_text(encoding="utf-8")
    stated = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    if stated is None:
        raise TerangError("the page that checks proofs states no policy: run scripts/build_assets")
    return text, stated[1]


async def _watch(parts: Parts, user_name: str) -> None:
    if not parts.live.may_watch():
        return
    try:
        await parts.core.ask(user_name, Watch())
    except CoreError:
        return  # the page says by itself that the core is not heard


proof_handlers = [record_page, proof_page, proof_file, verifier_page]
