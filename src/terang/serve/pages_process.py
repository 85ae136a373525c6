"""The web process: the pages over the store, and over the chain through the socket of the ledger's process."""

import logging
import os
from functools import partial

from terang.kits_installed import load_pages
from terang.ledger.chain import Block, BlockEvidence, BlockId, Receipt
from terang.ledger.rpc_chain import RpcChain
from terang.serve.child import REFUSED, end_with_parent, speak_as
from terang.serve.pages import Pages
from terang.settings import Settings
from terang.store.log_reader import LogReader
from terang.values.clock import SystemClock
from terang.values.errors import TerangError
from terang.web.process import run_web
from terang.web.settings import WebSettings

__all__ = ["run_pages"]

_log = logging.getLogger(__name__)


def run_pages(settings: Settings) -> None:
    """The main function of the process: until SIGTERM, or until the parent is gone."""
    end_with_parent()
    speak_as("web")
    rpc = f"http://127.0.0.1:{settings.rpc_port}" if settings.chain == "embedded" and settings.rpc_port else None
    web = WebSettings(
        state_dir=settings.data / "web",
        host=settings.web_host,
        port=settings.web_port,
        https=settings.web_https,
        proxies=frozenset(part.strip() for part in settings.web_proxies.split(",") if part.strip()),
        rpc_url=rpc,
    )
    try:
        run_web(web, partial(_open_pages, settings), settings.socket_path, load_pages())
    except RuntimeError as error:  # granian's word for an address that it cannot have, with a stack behind it
        where = f"{web.host}:{web.port}"
        _log.error("the pages cannot be served at %s: %s; choose another web_port", where, str(error).split("\n")[0])
        raise SystemExit(REFUSED) from None
    except TerangError as error:
        _log.error("%s", error)
        raise SystemExit(REFUSED) from None
    os._exit(0)  # granian's threads may be at work still, and abort when the interpreter is taken down under them


def _open_pages(settings: Settings) -> Pages:
    return Pages(LogReader(settings.store_path), _LateChain(settings), SystemClock())


class _LateChain:
    """The chain for a process that may start before the chain does: opened when it is first asked."""

    def __init__(self, settings: Settings) -> None:
        self._address = str(settings.chain_dir / "chain.ipc") if settings.chain == "embedded" else settings.chain
        self._chain: RpcChain | None = None

    def _now(self) -> RpcChain:
        if self._chain is None:
            self._chain = RpcChain(self._address)
        return self._chain

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """See Chain."""
        return self._now().receipt(tx_hash)

    def transaction(self, tx_hash: bytes) -> bytes | None:
        """See Chain."""
        return self._now().transaction(tx_hash)

    def call(self, to: bytes, data: bytes) -> bytes:
        """See Chain."""
        return self._now().call(to, data)

    def block(self, block_id: BlockId) -> Block | None:
        """See Chain."""
        return self._now().block(block_id)

    def evidence(self, number: int) -> BlockEvidence | None:
        """See Chain."""
        return self._now().evidence(number)
