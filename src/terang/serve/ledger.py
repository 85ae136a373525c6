"""The ledger's process: cuts batches, seals blocks, writes back; and answers read-only JSON-RPC of its chain.

A process of its own, because sealing and packing hold Python's lock for milliseconds that ingest must never feel.
"""

import contextlib
import json
import logging
import threading
from multiprocessing.connection import Connection
from typing import Any

from eth_utils.crypto import keccak

from terang.ledger import batch
from terang.ledger.anchoring import Anchorer
from terang.ledger.chain import Activity, Chain
from terang.ledger.committer import Committer
from terang.ledger.contract import decode_anchor_call, decode_committer, encode_committer_query
from terang.ledger.keyfile import load_or_create_key
from terang.ledger.merkle import root_hash
from terang.ledger.node import Node, NodeSettings
from terang.ledger.rpc_chain import RpcChain
from terang.ledger.signing_state import SigningState
from terang.ledger.tiles import TiledNodes
from terang.serve.child import REFUSED, end_with_parent, spare_the_collector, speak_as
from terang.serve.wire import Call, LedgerDoor, LedgerKeys
from terang.serve.witnessed import WitnessClient
from terang.settings import Settings
from terang.store.log_reader import LogReader, StoredBatch
from terang.values.clock import Clock, SystemClock
from terang.values.errors import BatchUnfaithful, ChainError, CoreError, LedgerError, StoreError, TerangError
from terang.values.record import leaf_hash
from terang.values.signing import KeyPair

__all__ = ["Hints", "chain_id_of", "read_back", "run_ledger"]

_POLL_S, _REMOTE_POLL_S = 0.02, 0.25
_RESEND_MS = 30_000
_LAST_TURN_MS = 8_000
_HURRY_S = 60
_RETRY_S = 1.0
_RELEASE_EVERY_S = 60
_WITNESS_EVERY_S = 60
_CLOSE_S = 10.0
_CONTRACT_WAIT_S = 60

_log = logging.getLogger(__name__)


class Hints:
    """What the core tells the ledger in between: hurry, or the end."""

    def __init__(self, connection: "Connection[str, str]", clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._hurry_until_ms = 0
        self.stopped = False

    def wait(self, seconds: float) -> None:
        """Sleep for so long, or until there is a hint."""
        try:
            while self._connection.poll(max(0.0, seconds)):
                seconds = 0
                if self._connection.recv() == "stop":
                    self.stopped = True
                else:
                    self._hurry_until_ms = self._clock.monotonic_ms() + _HURRY_S * 1000
        except (EOFError, OSError):
            self.stopped = True

    def hurrying(self) -> bool:
        """Whether somebody is looking at a proof."""
        return self._clock.monotonic_ms() < self._hurry_until_ms


def chain_id_of(site: bytes) -> int:
    """The embedded chain's id: its own for each site, so that no transaction of one house is good in another."""
    return 1_000_000 + int.from_bytes(site[:4], "big") % 1_000_000_000


class _Ledger:
    def __init__(self, settings: Settings, keys: LedgerKeys, door: LedgerDoor, hints: Hints) -> None:
        self._clock: Clock = SystemClock()
        self._settings = settings
        self._keys = keys
        self._door = door
        self._hints = hints
        self._source = LogReader(settings.store_path)
        self._status: dict[str, str] = {}
        self._released_ms = self._witnessed_ms = -(10**9)
        self._witness = WitnessClient(settings.witness, self._source) if settings.witness else None
        settings.keys_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._committer = Committer(load_or_create_key(settings.keys_dir / "committer.key"))
        self._node: Node | None = None
        self._sealing: threading.Thread | None = None
        self._poll_s = _POLL_S if settings.chain == "embedded" else _REMOTE_POLL_S
        if settings.chain == "embedded":
            self._node = self._start_node()
            self._chain: Chain = self._node.chain
        else:
            self._chain = RpcChain(settings.chain)

    def _start_node(self) -> Node:
        settings = self._settings
        node = Node(
            NodeSettings(
                directory=settings.chain_dir,
                chain_id=chain_id_of(self._keys.site),
                committer=self._committer.address,
                period_s=settings.chain_period_s,
                http_port=settings.rpc_port or None,
            ),
            self._clock,
        )
        self._sealing = threading.Thread(target=node.run, name="chain", daemon=True)
        self._sealing.start()
        return node

    def run(self) -> None:
        """Anchor until told to stop, and once more at the end."""
        anchorer = self._open()
        anchorer.check_start()
        self._say(self._look())
        while not self._hints.stopped:
            begun_ms = self._clock.monotonic_ms()
            try:
                self._turn(anchorer)
            except (ChainError, StoreError) as error:
                self._say({**self._status, "paused": str(error)})
                self._hints.wait(_RETRY_S)
            self._rest(begun_ms + (1000 if self._hints.hurrying() else self._settings.anchor_s * 1000))
        self._turn(anchorer)
        self._close()

    def _rest(self, until_ms: int) -> None:
        """Wait for the next turn; less if somebody begins to look at a proof meanwhile."""
        hurrying = self._hints.hurrying()
        while not self._hints.stopped and (left := until_ms - self._clock.monotonic_ms()) > 0:
            self._hints.wait(min(left / 1000, 1.0))
            if self._hints.hurrying() and not hurrying:
                return
        block_ms = self._until_block_ms()
        if block_ms > 0:
            self._hints.wait(block_ms / 1000)  # what comes until then goes into that block, not the one after

    def _until_block_ms(self) -> int:
        if self._node is None:
            return 0
        due_ms = (self._node.chain.head().timestamp_s + self._settings.chain_period_s) * 1000
        return min(due_ms - self._clock.now_ms(), self._settings.chain_period_s * 1000)

    def _turn(self, anchorer: Anchorer) -> None:
        anchorer.cut()
        anchorer.send()
        begun_ms = self._clock.monotonic_ms()
        again_ms = begun_ms + _RESEND_MS
        while anchorer.settle():
            self._hints.wait(self._poll_s)
            if self._hints.stopped and self._clock.monotonic_ms() - begun_ms > _LAST_TURN_MS:
                return  # what the chain has not taken by now is kept, and sent again at the next start
            status = self._chain.status()
            if status.activity is Activity.PAUSED:
                raise ChainError(status.reason)
            if self._clock.monotonic_ms() >= again_ms:  # a node may have forgotten what it took
                anchorer.send()
                again_ms = self._clock.monotonic_ms() + _RESEND_MS
        self._say(self._look())
        self._ask_witness()
        self._release_old()

    def _look(self) -> dict[str, str]:
        """How chain and log are, for the pages."""
        status = self._chain.status()
        head = self._chain.block("latest")
        size = self._source.cut_size()
        known = {
            "paused": status.reason if status.activity is Activity.PAUSED else "",
            "chain_id": str(self._chain.chain_id),
            "contract": self._source.site("contract") or self._status.get("contract", ""),
            "cut_size": str(size),
            "root": root_hash(TiledNodes(self._source), size).hex(),
        }
        if head is not None:
            known |= {"head_number": str(head.number), "head_hash": head.hash.hex(), "signer": head.signer.hex()}
        return known

    def _say(self, status: dict[str, str]) -> None:
        if status != self._status:
            if status.get("paused") != self._status.get("paused") and status.get("paused"):
                _log.warning("anchoring waits: %s", status["paused"])
            self._status = status
            self._door.save_status({"ledger": json.dumps(status)})

    def _open(self) -> Anchorer:
        contract = self._contract()
        key = KeyPair(self._keys.checkpoint_seed)
        signing = SigningState(self._settings.signing_state_path, key, self._keys.origin)
        return Anchorer(
            source=self._source,
            target=self._door,
            chain=self._chain,
            committer=self._committer,
            contract=contract,
            site=self._keys.site,
            signing=signing,
            clock=self._clock,
            confirmations=0 if self._node is not None else self._settings.confirmations,
        )

    def _contract(self) -> bytes:
        """The anchor contract's address, deployed and with this site registered at the first start."""
        known = self._source.site("contract")
        if known is None:
            raw = self._committer.deploy(**self._now())
            address = self._included(raw).contract_address
            if address is None:
                raise ChainError("the anchor contract could not be deployed")
            self._door.save_status({"contract": address.hex()})
            known = address.hex()
        contract = bytes.fromhex(known)
        owner = decode_committer(self._chain.call(contract, encode_committer_query(self._keys.site)))
        if owner is None:
            self._included(self._committer.register(self._keys.site, contract=contract, **self._now()))
        elif owner != self._committer.address:
            raise LedgerError("another account commits for this site; use the key with which it was registered")
        return contract

    def _now(self) -> dict[str, int]:
        return {
            "chain_id": self._chain.chain_id,
            "nonce": self._chain.nonce(self._committer.address),
            "base_fee": self._chain.base_fee,
        }

    def _included(self, raw: bytes) -> Any:
        transaction = self._chain.submit(raw)
        end_ms = self._clock.monotonic_ms() + _CONTRACT_WAIT_S * 1000
        while self._clock.monotonic_ms() < end_ms:
            receipt = self._chain.receipt(transaction)
            if receipt is not None:
                if not receipt.succeeded:
                    raise ChainError(f"block {receipt.block_number} refused a transaction of the committer")
                return receipt
            status = self._chain.status()
            if status.activity is Activity.PAUSED:
                self._say({**self._status, "paused": status.reason})
                end_ms = self._clock.monotonic_ms() + _CONTRACT_WAIT_S * 1000
            self._hints.wait(_POLL_S)
            if self._hints.stopped:
                raise ChainError("stopped before the chain took the first transaction")
        raise ChainError(f"no block took transaction 0x{keccak(raw).hex()} within {_CONTRACT_WAIT_S} s")

    def _ask_witness(self) -> None:
        """Have the newest head co-signed, once a minute at most; what comes of it changes nothing for readings."""
        now_ms = self._clock.monotonic_ms()
        newest = self._source.newest_batch()
        if self._witness is None or newest is None or now_ms - self._witnessed_ms < _WITNESS_EVERY_S * 1000:
            return
        self._witnessed_ms = now_ms
        try:
            self._door.save_status(self._witness.ask(newest.new_size, newest.checkpoint))
        except LedgerError as error:
            _log.warning("%s", error)

    def _release_old(self) -> None:
        """Let go of signed bytes that the chain has held for long enough, after reading them back from it."""
        now_ms = self._clock.now_ms()
        if self._clock.monotonic_ms() - self._released_ms < _RELEASE_EVERY_S * 1000:
            return
        self._released_ms = self._clock.monotonic_ms()
        before_ms = now_ms - self._settings.keep_envelopes_days * 86_400_000
        for old in self._source.releasable(before_ms):
            if not read_back(self._chain, old, self._source.leaves(old.old_size, old.new_size)):
                raise BatchUnfaithful(f"the chain's copy of batch {old.id} differs from the store; run `terang audit`")
            self._door.release(old.old_size, old.new_size)

    def _close(self) -> None:
        if self._node is not None and self._sealing is not None:
            self._node.stop()
            self._sealing.join(_CLOSE_S)
        self._source.close()


def read_back(chain: Chain, stored: StoredBatch, leaves: list[bytes]) -> bool:
    """Whether the chain's copy of a batch is exactly the records with these leaf hashes."""
    calldata = chain.transaction(stored.transaction_hash) if stored.transaction_hash else None
    if calldata is None:
        return False
    items = batch.decode(decode_anchor_call(calldata).data)
    return [leaf_hash(item.kind, item.data) for item in items] == leaves


def run_ledger(
    settings: Settings, keys: LedgerKeys, calls: "Connection[Call, str]", hints: "Connection[str, str]"
) -> None:
    """The main function of the process; ends when its parent does."""
    end_with_parent()
    speak_as("ledger")
    spare_the_collector()
    door = LedgerDoor(calls)
    try:
        _Ledger(settings, keys, door, Hints(hints, SystemClock())).run()
    except CoreError:
        return
    except TerangError as error:
        _log.error("%s", error)
        with contextlib.suppress(CoreError, StoreError):
            door.save_status({"ledger_fault": str(error), "ledger": json.dumps({"paused": str(error)})})
        raise SystemExit(REFUSED) from error

