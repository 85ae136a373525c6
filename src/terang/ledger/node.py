"""The embedded chain as a process of its own: it seals, prunes and answers JSON-RPC.

Sealing holds Python's lock for milliseconds at a time, which the process that takes readings must never feel.
"""

import logging
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseServer
from typing import Final

from terang.ledger.chain_view import ChainView, read_genesis
from terang.ledger.embedded import EmbeddedChain
from terang.ledger.genesis import EPOCH_BLOCKS, Genesis
from terang.ledger.keyfile import load_or_create_key
from terang.ledger.rpc_methods import Dispatcher
from terang.ledger.rpc_server import HttpServer, IpcServer
from terang.values.clock import Clock, SystemClock
from terang.values.errors import ChainError

__all__ = ["Node", "NodeSettings", "run_node"]

_LOG: Final = logging.getLogger(__name__)
_LONGEST_WAIT_S: Final = 0.5
_PRUNE_NODES: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What a node needs to know.

    `directory` holds genesis, blocks, lock, signer key and the socket `chain.ipc`; `committer` is the address
    [20 bytes] that the genesis funds, with `chain_id`, `period_s` [s] and `epoch` [blocks]; all four matter only when
    the chain begins. `http_port` on 127.0.0.1, 0 for any, None for no HTTP. With `parent_pid` the node ends when it is
    no longer that process's child.
    """

    directory: Path
    chain_id: int
    committer: bytes
    period_s: int = 1
    epoch: int = EPOCH_BLOCKS
    http_port: int | None = None
    parent_pid: int | None = None
    version: str = "terang"

    @property
    def ipc_path(self) -> Path:
        """The Unix socket."""
        return self.directory / "chain.ipc"


class Node:
    """An opened chain and its sockets; `run` works until `stop`, from whatever thread that comes."""

    def __init__(self, settings: NodeSettings, clock: Clock) -> None:
        self._settings = settings
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.http: HttpServer | None = None
        self.chain = _open_chain(settings, clock)
        self.chain.on_submit = self._wake.set
        try:
            self._view = ChainView.open_read_only(settings.directory)
            self._ipc = IpcServer(settings.ipc_path, self._dispatcher(self.chain, writer=self.chain))
            if settings.http_port is not None:
                self.http = HttpServer(settings.http_port, self._dispatcher(self._view, writer=None))
        except BaseException:
            self.chain.close()
            raise

    def _dispatcher(self, view: ChainView, writer: EmbeddedChain | None) -> Dispatcher:
        return Dispatcher(
            view,
            version=self._settings.version,
            status=self.chain.status,
            writer=writer,
        )

    def stop(self) -> None:
        """Ask `run` to end; safe in a signal handler."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Serve and seal until stopped or orphaned, then close everything."""
        servers: list[BaseServer] = [self._ipc, *([] if self.http is None else [self.http])]
        try:
            for server in servers:
                thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
                thread.start()
                self._threads.append(thread)
            while not self._stopping.is_set() and not self._orphaned():
                self._turn()
        finally:
            for server in servers:
                server.shutdown()
                server.server_close()
            self._view.close()
            self.chain.close()

    def _turn(self) -> None:
        """Seal if a block is due, else prune a little, else sleep until something happens."""
        self._wake.clear()
        try:
            if self.chain.seal() is not None or self.chain.tidy(_PRUNE_NODES):
                return
        except ChainError as error:
            _LOG.error("%s", error)
        self._wake.wait(self._wait_s())

    def _wait_s(self) -> float:
        """Seconds to the next block, at most half a second; as long as that while it may not be sealed."""
        wait_ms = self.chain.until_seal_ms()
        if wait_ms is None or wait_ms <= 0:
            return _LONGEST_WAIT_S
        return min(wait_ms / 1000, _LONGEST_WAIT_S)

    def _orphaned(self) -> bool:
        return self._settings.parent_pid is not None and os.getppid() != self._settings.parent_pid


def _open_chain(settings: NodeSettings, clock: Clock) -> EmbeddedChain:
    key = load_or_create_key(settings.directory / "signer.key")
    genesis = None
    if read_genesis(settings.directory) is None:
        genesis = Genesis.for_site(
            chain_id=settings.chain_id,
            timestamp_s=clock.now_ms() // 1000,
            signer=key.public_key.to_canonical_address(),
            committer=settings.committer,
            period_s=settings.period_s,
            epoch=settings.epoch,
        )
    return EmbeddedChain.open(settings.directory, clock=clock, genesis=genesis, signer_key=key)


def run_node(settings: NodeSettings) -> None:
    """The main function of a node's process: runs until SIGTERM, or until the parent is gone.

    With a parent, an interrupt from the keyboard is left to it, so that a last anchor still finds a chain.
    """
    node = Node(settings, SystemClock())
    signal.signal(signal.SIGTERM, lambda *_: node.stop())
    signal.signal(signal.SIGINT, lambda *_: node.stop() if settings.parent_pid is None else None)
    node.run()
