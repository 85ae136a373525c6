"""The only place that knows concrete classes beside the processes of `serve`: what the command line works with."""

from terang.kits_installed import load_kits
from terang.ledger.chain import ChainReader
from terang.ledger.chain_view import ChainView, read_genesis
from terang.ledger.rpc_chain import RpcChain
from terang.serve.house import platform, prepare
from terang.serve.pages import Pages
from terang.settings import Settings
from terang.store.log_reader import LogReader
from terang.values.clock import SystemClock

__all__ = ["load_kits", "open_chain", "open_pages", "platform", "prepare"]


def open_pages(settings: Settings) -> Pages:
    """The store and the chain as the pages read them."""
    return Pages(LogReader(settings.store_path), open_chain(settings), SystemClock())


def open_chain(settings: Settings) -> ChainReader | None:
    """The chain, for reading; None where the embedded one has no block yet."""
    if settings.chain != "embedded":
        return RpcChain(settings.chain)
    if read_genesis(settings.chain_dir) is None:
        return None
    return ChainView.open_read_only(settings.chain_dir)
