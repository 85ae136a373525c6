"""Ethereum's JSON-RPC over an embedded chain: requests in, answers out, no sockets.

Reading methods work on any ChainView; a transaction can be sent only through a dispatcher that has a writer.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from eth_utils.address import to_checksum_address

from terang.ledger.chain import ChainStatus
from terang.ledger.chain_store import StoredBlock
from terang.ledger.chain_view import ChainView
from terang.ledger.clique import Header, signer_of
from terang.ledger.embedded import EmbeddedChain
from terang.ledger.evidence import decode_receipt
from terang.ledger.evm import CallReverted, base_fee_after
from terang.ledger.rpc_shapes import (
    BadParams,
    bytes_of,
    hex_of,
    log_json,
    number_of_hex,
    raw_block_json,
    receipt_json,
    tx_json,
)
from terang.values.errors import ChainError

__all__ = ["MAX_BATCH", "Dispatcher"]

_LOG: Final = logging.getLogger(__name__)
MAX_BATCH: Final = 100
_MAX_LOG_BLOCKS: Final = 2_000
_MAX_FEE_BLOCKS: Final = 256
_TIP: Final = 1
_TAGS: Final = ("latest", "pending", "safe", "finalized")

_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600
_NO_METHOD: Final = -32601
_INVALID_PARAMS: Final = -32602
_INTERNAL: Final = -32603
_REFUSED: Final = -32000
_REVERTED: Final = 3


class Dispatcher:
    """Answers requests about `view`, one at a time; with `writer`, which then is the view, it also takes transactions.

    `status` says whether the chain seals.
    """

    def __init__(
        self,
        view: ChainView,
        *,
        version: str,
        status: Callable[[], ChainStatus],
        writer: EmbeddedChain | None = None,
    ) -> None:
        self._view = view
        self._version = version
        self._status = status
        self._writer = writer
        self._mutex = writer.mutex if writer is not None else threading.RLock()
        self._methods: Mapping[str, Callable[..., Any]] = self._table()

    def _table(self) -> dict[str, Callable[..., Any]]:
        table: dict[str, Callable[..., Any]] = {
            "clique_getSigners": self._signers,
            "clique_getSnapshot": self._snapshot,
            "debug_getRawBlock": self._raw_block,
            "eth_accounts": list,
            "eth_blockNumber": lambda: hex_of(self._view.head().number),
            "eth_call": self._call,
            "eth_chainId": lambda: hex_of(self._view.chain_id),
            "eth_estimateGas": self._estimate_gas,
            "eth_feeHistory": self._fee_history,
            "eth_gasPrice": lambda: hex_of(self._view.base_fee + _TIP),
            "eth_getBalance": lambda address, at="latest": hex_of(self._account(address, at).balance),
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getCode": lambda address, at="latest": hex_of(self._account(address, at).code),
            "eth_getLogs": self._logs,
            "eth_getStorageAt": self._storage,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionCount": self._nonce,
            "eth_getTransactionReceipt": self._receipt,
            "eth_maxPriorityFeePerGas": lambda: hex_of(_TIP),
            "eth_syncing": lambda: False,
            "net_listening": lambda: True,
            "net_version": lambda: str(self._view.chain_id),
            "terang_status": self._status_json,
            "web3_clientVersion": lambda: self._version,
        }
        if self._writer is not None:
            table["eth_sendRawTransaction"] = self._send
        return table

    def answer(self, body: bytes) -> bytes:
        """The answer to a request or a batch of them; empty when nothing in it wants an answer."""
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            return _encode(_error(None, _PARSE_ERROR, "the request is not JSON"))
        if isinstance(request, list):
            if not 0 < len(request) <= MAX_BATCH:
                return _encode(_error(None, _INVALID_REQUEST, f"a batch holds 1 to {MAX_BATCH} requests"))
            answers = [answer for one in request if (answer := self._answer_one(one)) is not None]
            return _encode(answers) if answers else b""
        answer = self._answer_one(request)
        return b"" if answer is None else _encode(answer)

    def _answer_one(self, request: object) -> dict[str, Any] | None:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _error(None, _INVALID_REQUEST, "a request is an object with jsonrpc, id, method and params")
        request_id = request.get("id")
        params = request.get("params", [])
        if not isinstance(request_id, str | int | float | None):
            return _error(None, _INVALID_REQUEST, "an id is a string or a number")
        if not isinstance(params, list):
            return _error(request_id, _INVALID_PARAMS, "params must be a list")
        answer = self._run(request["method"], params, request_id)
        return None if "id" not in request else answer

    def _run(self, name: str, params: list[Any], request_id: str | float | None) -> dict[str, Any]:
        method = self._methods.get(name)
        if method is None:
            hint = "; transactions are taken on the Unix socket only" if name == "eth_sendRawTransaction" else ""
            return _error(request_id, _NO_METHOD, f"the method {name} does not exist here{hint}")
        try:
            with self._mutex:
                result = method(*params)
        except CallReverted as error:
            return _error(request_id, _REVERTED, str(error), hex_of(error.data))
        except ChainError as error:
            return _error(request_id, _REFUSED, str(error))
        except (BadParams, TypeError) as error:
            return _error(request_id, _INVALID_PARAMS, f"{name}: {error}")
        except Exception:  # noqa: BLE001  a bug in one method must not end the node
            _LOG.exception("%s failed", name)
            return _error(request_id, _INTERNAL, f"{name} failed inside; the node's log has the reason")
        return {"jsonrpc": "2.0", "id": request_id, "result": result}

    def _header_at(self, at: object) -> Header:
        """The header that a block parameter names; raises BadParams when there is none."""
        header = self._view.header(self._number_at(at))
        if header is None:
            raise BadParams(f"there is no block {at!r}")
        return header

    def _number_at(self, at: object) -> int:
        if at in _TAGS:
            return self._view.head().number
        if at == "earliest":
            return 0
        if isinstance(at, dict):
            if "blockNumber" in at:
                return self._number_at(at["blockNumber"])
            number = self._view.number_of(bytes_of(at.get("blockHash"), length=32))
            if number is None:
                raise BadParams("there is no block of that hash")
            return number
        # SQLite takes no integer above 63 bits, and no chain gets there.
        return min(number_of_hex(at), 2**63 - 1)

    def _account(self, address: object, at: object) -> Any:
        return self._view.evm.account(self._header_at(at), bytes_of(address, length=20))

    def _nonce(self, address: object, at: object = "latest") -> str:
        if at == "pending":
            return hex_of(self._view.nonce(bytes_of(address, length=20)))
        return hex_of(self._account(address, at).nonce)

    def _storage(self, address: object, slot: object, at: object = "latest") -> str:
        word = self._view.evm.storage(self._header_at(at), bytes_of(address, length=20), number_of_hex(slot))
        return hex_of(word.to_bytes(32, "big"))

    def _call(self, request: object, at: object = "latest") -> str:
        to, data, sender, value = _call_fields(request)
        if to is None:
            raise BadParams("a call needs `to`")
        return hex_of(self._view.evm.call(self._header_at(at), to=to, data=data, sender=sender, value=value))

    def _estimate_gas(self, request: object, at: object = "latest") -> str:
        to, data, sender, value = _call_fields(request)
        gas = self._view.evm.estimate_gas(self._header_at(at), to=to, data=data, sender=sender, value=value)
        return hex_of(gas)

    def _block_by_number(self, at: object, full: object = False) -> dict[str, Any] | None:  # noqa: FBT002
        stored = self._view.stored(self._number_at(at))
        return None if stored is None else raw_block_json(self._view, stored, full=bool(full))

    def _block_by_hash(self, block_hash: object, full: object = False) -> dict[str, Any] | None:  # noqa: FBT002
        number = self._view.number_of(bytes_of(block_hash, length=32))
        return None if number is None else self._block_by_number(hex_of(number), full)

    def _raw_block(self, at: object) -> str:
        stored = self._view.stored(self._number_at(at))
        if stored is None:
            raise BadParams(f"there is no block {at!r}")
        return hex_of(stored.encode())

    def _find(self, tx_hash: object) -> tuple[StoredBlock, int] | None:
        place = self._view.place(bytes_of(tx_hash, length=32))
        stored = None if place is None else self._view.stored(place[0])
        return None if place is None or stored is None else (stored, place[1])

    def _transaction(self, tx_hash: object) -> dict[str, Any] | None:
        found = self._find(tx_hash)
        if found is not None:
            stored, index = found
            return raw_block_json(self._view, stored, full=True)["transactions"][index]  # type: ignore[no-any-return]
        waiting = None if self._writer is None else self._writer.waiting(bytes_of(tx_hash))
        return None if waiting is None else tx_json(waiting, None, 0)

    def _receipt(self, tx_hash: object) -> dict[str, Any] | None:
        found = self._find(tx_hash)
        return None if found is None else receipt_json(self._view, found[0], found[1])

    def _send(self, raw: object) -> str:
        if self._writer is None:
            raise BadParams("transactions are not taken here")
        return hex_of(self._writer.submit(bytes_of(raw)))

    def _fee_history(self, count: object, newest: object, percentiles: object = None) -> dict[str, Any]:
        # geth takes the count as a quantity; older clients send a plain number.
        wanted = count if isinstance(count, int) else number_of_hex(count)
        last = self._header_at(newest)
        first = max(0, last.number + 1 - min(wanted, _MAX_FEE_BLOCKS))
        headers = [h for number in range(first, last.number + 1) if (h := self._view.header(number)) is not None]
        history: dict[str, Any] = {
            "oldestBlock": hex_of(first),
            "baseFeePerGas": [hex_of(h.base_fee) for h in headers] + [hex_of(base_fee_after(last))],
            "gasUsedRatio": [h.gas_used / h.gas_limit for h in headers],
        }
        if isinstance(percentiles, list) and percentiles:
            history["reward"] = [[hex_of(_TIP)] * len(percentiles) for _ in headers]
        return history

    def _logs(self, wanted: object) -> list[dict[str, Any]]:
        if not isinstance(wanted, dict):
            raise BadParams("a filter is an object")
        if "blockHash" in wanted:
            first = last = self._number_at({"blockHash": wanted["blockHash"]})
        else:
            first = self._number_at(wanted.get("fromBlock") or "latest")
            last = min(self._number_at(wanted.get("toBlock") or "latest"), self._view.head().number)
        if last - first >= _MAX_LOG_BLOCKS:
            raise BadParams(f"a filter may span {_MAX_LOG_BLOCKS} blocks; ask in pieces")
        match = _LogFilter(wanted)
        found: list[dict[str, Any]] = []
        for number in range(first, last + 1):
            header = self._view.header(number)
            # An empty bloom is what a block without events has: no need to unpack its body.
            if header is not None and any(header.bloom):
                found.extend(self._logs_of(number, match))
        return found

    def _logs_of(self, number: int, match: "_LogFilter") -> list[dict[str, Any]]:
        stored = self._view.stored(number)
        found: list[dict[str, Any]] = []
        log_index = 0
        for index, raw in enumerate([] if stored is None else stored.receipts):
            for log in decode_receipt(raw)[2]:
                if stored is not None and match(log.address, log.topics):
                    found.append(log_json(log, stored, index, log_index))
                log_index += 1
        return found

    def _signers(self, at: object = "latest") -> list[str]:
        self._header_at(at)
        return [to_checksum_address(signer) for signer in self._view.genesis.signers]

    def _snapshot(self, at: object = "latest") -> dict[str, Any]:
        header = self._header_at(at)
        signers = self._signers(at)
        first = max(1, header.number + 1 - (len(signers) // 2 + 1))
        recent = [h for number in range(first, header.number + 1) if (h := self._view.header(number)) is not None]
        return {
            "number": header.number,
            "hash": hex_of(header.hash),
            "signers": {signer: {} for signer in signers},
            "recents": {str(h.number): to_checksum_address(signer_of(h)) for h in recent},
            "votes": [],
            "tally": {},
        }

    def _status_json(self) -> dict[str, Any]:
        status = self._status()
        return {"activity": status.activity.value, "reason": status.reason}


class _LogFilter:
    """Whether a log has one of the wanted addresses and, position by position, one of the wanted topics."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._addresses = {bytes_of(item, length=20) for item in _as_list(wanted.get("address"))}
        topics = wanted.get("topics") or []
        if not isinstance(topics, list):
            raise BadParams("topics is a list")
        self._topics = [{bytes_of(item, length=32) for item in _as_list(position)} for position in topics]

    def __call__(self, address: bytes, topics: tuple[bytes, ...]) -> bool:
        if self._addresses and address not in self._addresses:
            return False
        if len(self._topics) > len(topics):
            return False
        return all(not allowed or topics[i] in allowed for i, allowed in enumerate(self._topics))


def _as_list(value: object) -> list[object]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _call_fields(request: object) -> tuple[bytes | None, bytes, bytes, int]:
    if not isinstance(request, dict):
        raise BadParams("a call is an object")
    to = request.get("to")
    data = request.get("input", request.get("data", "0x"))
    sender = request.get("from")
    return (
        None if to is None else bytes_of(to, length=20),
        bytes_of(data),
        bytes(20) if sender is None else bytes_of(sender, length=20),
        number_of_hex(request.get("value", "0x0")),
    )


def _error(request_id: str | float | None, code: int, message: str, data: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


def _encode(answer: object) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode()
