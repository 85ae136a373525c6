"""A chain behind JSON-RPC: our own node or any other Ethereum node, through web3.py."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import requests
from eth_typing import ChecksumAddress, HexStr
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3 import HTTPProvider, Web3
from web3.exceptions import (
    BlockNotFound,
    ContractLogicError,
    MethodUnavailable,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import RPCEndpoint

from terang.ledger.chain import Activity, Block, BlockEvidence, BlockId, ChainEvent, ChainStatus, Log, Receipt
from terang.ledger.clique import EMPTY_UNCLES_HASH, Header, signer_of
from terang.ledger.evidence import encode_receipt
from terang.ledger.evm import ordered_root
from terang.ledger.ipc_provider import UnixSocketProvider
from terang.values.errors import ChainCorrupt, ChainError, ChainRefused, ChainUnreachable

__all__ = ["RpcChain"]

_TIMEOUT_S: Final = 30
_LOG_BLOCKS: Final = 1000
_T = TypeVar("_T")
# How the messages begin by which geth, Besu and Nethermind say that they hold the very same bytes already.
_KNOWN: Final = ("already known", "known transaction", "alreadyknown")


class RpcChain:
    """Implements Chain over a node at `where`: an http(s) URL, or the path of a Unix socket.

    Nothing is asked before the first call; every call may raise ChainUnreachable, and succeeds again when the node is
    back. One thread at a time. A node that is behind a load balancer may answer from another head each time.
    """

    def __init__(self, where: str | Path, *, timeout_s: int = _TIMEOUT_S) -> None:
        self._where = str(where)
        self._session = requests.Session()
        self._provider: HTTPProvider | UnixSocketProvider
        if self._where.startswith(("http://", "https://")):
            self._provider = HTTPProvider(self._where, request_kwargs={"timeout": timeout_s}, session=self._session)
        else:
            self._provider = UnixSocketProvider(self._where, timeout_s=timeout_s)
        self._web3 = Web3(self._provider)
        self._web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        self._chain_id: int | None = None

    def close(self) -> None:
        """Hang up; a later call would connect again."""
        self._session.close()
        if isinstance(self._provider, UnixSocketProvider):
            self._provider.close()

    @property
    def chain_id(self) -> int:
        """See Chain; asked once, a node does not change its chain."""
        if self._chain_id is None:
            self._chain_id = int(self._ask(lambda: self._web3.eth.chain_id))
        return self._chain_id

    @property
    def base_fee(self) -> int:
        """See Chain."""
        history = self._ask(lambda: self._web3.eth.fee_history(1, "latest"))
        return int(history["baseFeePerGas"][-1])

    def submit(self, raw: bytes) -> bytes:
        """See Chain."""
        tx_hash = keccak(raw)
        if self.receipt(tx_hash) is not None:
            return tx_hash
        try:
            answer = self._ask(lambda: self._web3.eth.send_raw_transaction(raw))
        except ChainRefused as error:
            if isinstance(error.__cause__, Web3RPCError) and _message(error.__cause__).lower().startswith(_KNOWN):
                return tx_hash
            raise
        if bytes(answer) != tx_hash:
            raise ChainCorrupt(f"{self._where} names another hash than the transaction's; do not trust this node")
        return tx_hash

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """See Chain."""
        try:
            found = self._ask(lambda: self._web3.eth.get_transaction_receipt(HexBytes(tx_hash)))
        except _Absent:
            return None
        deployed = found.get("contractAddress")
        return Receipt(
            tx_hash=bytes(found["transactionHash"]),
            block_number=found["blockNumber"],
            block_hash=bytes(found["blockHash"]),
            index=found["transactionIndex"],
            succeeded=found["status"] == 1,
            gas_used=found["gasUsed"],
            contract_address=None if deployed is None else bytes.fromhex(deployed[2:]),
            logs=tuple(_log(log) for log in found["logs"]),
        )

    def block(self, block_id: BlockId) -> Block | None:
        """See Chain."""
        try:
            found: Mapping[str, Any] = self._ask(lambda: self._web3.eth.get_block(block_id))
        except _Absent:
            return None
        return Block(
            number=found["number"],
            hash=bytes(found["hash"]),
            parent_hash=bytes(found["parentHash"]),
            timestamp_ms=found["timestamp"] * 1000,
            signer=_signer(found),
            size_bytes=found["size"],
            tx_hashes=tuple(bytes(tx_hash) for tx_hash in found["transactions"]),
        )

    def transaction(self, tx_hash: bytes) -> bytes | None:
        """See Chain."""
        try:
            found = self._ask(lambda: self._web3.eth.get_transaction(HexBytes(tx_hash)))
        except _Absent:
            return None
        return None if found.get("blockHash") is None else bytes(found["input"])

    def call(self, to: bytes, data: bytes) -> bytes:
        """See Chain."""
        return bytes(self._ask(lambda: self._web3.eth.call({"to": _address(to), "data": HexStr("0x" + data.hex())})))

    def events(self, address: bytes, topics: tuple[bytes, ...], begin: int, end: int) -> list[ChainEvent]:
        """See Chain; asked in pieces, as nodes allow them."""
        found: list[ChainEvent] = []
        for first in range(max(begin, 0), end, _LOG_BLOCKS):
            last = min(first + _LOG_BLOCKS, end) - 1
            wanted: Any = {
                "address": _address(address),
                "topics": [HexStr("0x" + topic.hex()) for topic in topics],
                "fromBlock": first,
                "toBlock": last,
            }
            logs = self._ask(lambda wanted=wanted: self._web3.eth.get_logs(wanted))  # type: ignore[misc]
            found += [_event(log) for log in logs]
        return found

    def evidence(self, number: int) -> BlockEvidence | None:
        """See Chain; ChainCorrupt where the node's header or receipts do not give the hashes that it names."""
        try:
            found: Mapping[str, Any] = self._ask(lambda: self._web3.eth.get_block(number))
        except _Absent:
            return None
        header = _header(found)
        asked = [self._web3_receipt(bytes(tx_hash)) for tx_hash in found["transactions"]]
        receipts = tuple(_encoded(receipt) for receipt in asked)
        if header.hash != bytes(found["hash"]) or ordered_root(receipts) != header.receipts_root:
            raise ChainCorrupt(f"block {number} of {self._where} has no header or receipts that a proof can carry")
        return BlockEvidence(header=header.encode(), receipts=receipts)

    def _web3_receipt(self, tx_hash: bytes) -> Mapping[str, Any]:
        return self._ask(lambda: self._web3.eth.get_transaction_receipt(HexBytes(tx_hash)))

    def code(self, address: bytes) -> bytes:
        """See Chain."""
        return bytes(self._ask(lambda: self._web3.eth.get_code(_address(address))))

    def nonce(self, address: bytes) -> int:
        """See Chain."""
        return int(self._ask(lambda: self._web3.eth.get_transaction_count(_address(address), "pending")))

    def status(self) -> ChainStatus:
        """See Chain. Of a node that is not ours only its reach and its syncing are known."""
        try:
            answer = self._ask(lambda: self._web3.provider.make_request(RPCEndpoint("terang_status"), []))
            if "result" in answer:
                result = answer["result"]
                return ChainStatus(activity=Activity(result["activity"]), reason=result["reason"])
            if self._ask(lambda: self._web3.eth.syncing):
                reason = f"{self._where} is still catching up with its peers; anchoring goes on when it has"
                return ChainStatus(activity=Activity.PAUSED, reason=reason)
        except ChainError as error:
            return ChainStatus(activity=Activity.PAUSED, reason=str(error))
        return ChainStatus(activity=Activity.SEALING)

    def _ask(self, question: Callable[[], _T]) -> _T:
        """The answer, with web3.py's and the network's many failures made into ours."""
        try:
            return question()
        except (TransactionNotFound, BlockNotFound) as error:
            raise _Absent(str(error)) from error
        except ContractLogicError as error:
            raise ChainRefused(f"the contract refused: {error.message or error}") from error
        except MethodUnavailable as error:
            raise ChainRefused(f"{self._where} cannot do this: {_message(error)}") from error
        except Web3RPCError as error:
            raise ChainRefused(f"{self._where} refused: {_message(error)}") from error
        except (requests.RequestException, OSError, Web3Exception) as error:
            raise ChainUnreachable(
                f"no answer from the chain at {self._where}: {error}; is the node running there?"
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ChainCorrupt(f"{self._where} does not answer as an Ethereum node does: {error!r}") from error


class _Absent(ChainRefused):
    """The node knows no such block or transaction."""


def _event(found: Mapping[str, Any]) -> ChainEvent:
    return ChainEvent(
        log=_log(found),
        tx_hash=bytes(found["transactionHash"]),
        block_number=found["blockNumber"],
        block_hash=bytes(found["blockHash"]),
        index=found["transactionIndex"],
    )


def _log(found: Mapping[str, Any]) -> Log:
    return Log(
        address=bytes.fromhex(found["address"][2:]),
        topics=tuple(bytes(topic) for topic in found["topics"]),
        data=bytes(found["data"]),
    )


def _address(address: bytes) -> ChecksumAddress:
    return to_checksum_address(address)


def _message(error: Web3RPCError) -> str:
    """What the node said, without web3.py's wrapping."""
    response = error.rpc_response
    if isinstance(response, Mapping) and isinstance(response.get("error"), Mapping):
        return str(response["error"].get("message", error))
    return str(error.message or error)


def _encoded(receipt: Mapping[str, Any]) -> bytes:
    return encode_receipt(
        kind=int(receipt["type"]),
        succeeded=receipt["status"] == 1,
        gas=receipt["cumulativeGasUsed"],
        bloom=bytes(receipt["logsBloom"]),
        logs=[_log(log) for log in receipt["logs"]],
    )


def _signer(block: Mapping[str, Any]) -> bytes:
    """Who sealed it: recovered, where the header hashes to the block's hash as a Clique header does; else its miner."""
    miner = bytes.fromhex(block["miner"][2:])
    if "baseFeePerGas" not in block or block["number"] == 0:
        return miner
    header = _header(block)
    if header.hash != bytes(block["hash"]):
        return miner
    try:
        return signer_of(header)
    except ChainCorrupt:
        return miner


def _header(block: Mapping[str, Any]) -> Header:
    """The header as a London block has it."""
    miner = bytes.fromhex(block["miner"][2:])
    return Header(
        parent_hash=bytes(block["parentHash"]),
        uncles_hash=bytes(block.get("sha3Uncles", EMPTY_UNCLES_HASH)),
        coinbase=miner,
        state_root=bytes(block["stateRoot"]),
        transactions_root=bytes(block["transactionsRoot"]),
        receipts_root=bytes(block["receiptsRoot"]),
        bloom=bytes(block["logsBloom"]),
        difficulty=block["difficulty"],
        number=block["number"],
        gas_limit=block["gasLimit"],
        gas_used=block["gasUsed"],
        timestamp_s=block["timestamp"],
        extra_data=bytes(block.get("proofOfAuthorityData", block.get("extraData", b""))),
        mix_hash=bytes(block["mixHash"]),
        nonce=bytes(block["nonce"]),
        base_fee=block["baseFeePerGas"],
    )
