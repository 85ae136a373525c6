"""The log and the chain, for everybody who lives here: nothing on this page is anybody's own."""

from litestar import Response, get

from terang.web.access import needs_person
from terang.web.parts import Asked, MaybeNumber, Wired
from terang.web.render import render

__all__ = ["ledger_handlers"]

_PAGE_ROWS = 20
_KEPT_MAX = 2_000


@get("/ledger", include_in_schema=False, guards=[needs_person], sync_to_thread=True)
def ledger_page(request: Asked, parts: Wired, before: MaybeNumber = None) -> Response[str]:
    """Head, checkpoint, batches and blocks; `kept` is a head that somebody has kept, to be compared."""
    kept = request.query_params.get("kept", "").strip()
    batches = parts.source.batches(before, _PAGE_ROWS + 1)
    return render(
        parts,
        request,
        "ledger.html",
        active="ledger",
        ledger=parts.source.ledger(),
        batches=batches[:_PAGE_ROWS],
        older=batches[_PAGE_ROWS - 1].id if len(batches) > _PAGE_ROWS else None,
        before=before,
        kept=parts.source.compare_head(kept[:_KEPT_MAX]) if kept else None,
        rpc_url=parts.settings.rpc_url,
    )


ledger_handlers = [ledger_page]
