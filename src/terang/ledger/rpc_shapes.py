"""The JSON forms of blocks, transactions and receipts that Ethereum's JSON-RPC prescribes, and reading its hex back."""

from typing import Any, Final

from eth.constants import CREATE_CONTRACT_ADDRESS
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from terang.ledger.chain import Log
from terang.ledger.chain_store import StoredBlock
from terang.ledger.chain_view import ChainView
from terang.ledger.clique import Header
from terang.ledger.evidence import decode_receipt
from terang.ledger.evm import Transaction, bloom_of, decode_transaction

__all__ = ["BadParams", "bytes_of", "hex_of", "log_json", "number_of_hex", "raw_block_json", "receipt_json", "tx_json"]

_MAX_WORD_DIGITS: Final = 64


class BadParams(ValueError):
    """A parameter is not what the method takes; the text says which."""


def hex_of(value: int | bytes) -> str:
    """A quantity without leading zeros, or data in full."""
    return hex(value) if isinstance(value, int) else "0x" + value.hex()


def bytes_of(value: object, *, length: int | None = None) -> bytes:
    """The data in a hex string, of exactly `length` bytes where one is given; raises BadParams."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise BadParams(f"{_short(value)} is not data: a string of 0x and hexadecimal digits")
    try:
        data = bytes.fromhex(value[2:])
    except ValueError as error:
        raise BadParams(f"{_short(value)} is not data: its digits are odd in number or not hexadecimal") from error
    if length is not None and len(data) != length:
        raise BadParams(f"{_short(value)} has {len(data)} bytes, {length} are due")
    return data


def number_of_hex(value: object) -> int:
    """The number in a hex quantity; raises BadParams."""
    if not isinstance(value, str) or not value.startswith("0x") or not 0 < len(value) - 2 <= _MAX_WORD_DIGITS:
        raise BadParams(f"{_short(value)} is not a quantity: a string of 0x and up to 64 hexadecimal digits")
    try:
        return int(value, 16)
    except ValueError as error:
        raise BadParams(f"{_short(value)} is not a quantity: a digit is not hexadecimal") from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."  # noqa: PLR2004


def raw_block_json(view: ChainView, stored: StoredBlock, *, full: bool) -> dict[str, Any]:
    """A block, with whole transactions or their hashes only."""
    header = stored.header
    transactions: list[Any] = [hex_of(keccak(raw)) for raw in stored.transactions]
    if full:
        transactions = [
            tx_json(decode_transaction(raw, view.chain_id), stored, index)
            for index, raw in enumerate(stored.transactions)
        ]
    return {
        **_header_json(header),
        "hash": hex_of(stored.hash),
        "size": hex_of(len(stored.encode())),
        "transactions": transactions,
        "uncles": [],
    }


def _header_json(header: Header) -> dict[str, Any]:
    return {
        "number": hex_of(header.number),
        "parentHash": hex_of(header.parent_hash),
        "sha3Uncles": hex_of(header.uncles_hash),
        "miner": to_checksum_address(header.coinbase),
        "stateRoot": hex_of(header.state_root),
        "transactionsRoot": hex_of(header.transactions_root),
        "receiptsRoot": hex_of(header.receipts_root),
        "logsBloom": hex_of(header.bloom),
        "difficulty": hex_of(header.difficulty),
        "gasLimit": hex_of(header.gas_limit),
        "gasUsed": hex_of(header.gas_used),
        "timestamp": hex_of(header.timestamp_s),
        "extraData": hex_of(header.extra_data),
        "mixHash": hex_of(header.mix_hash),
        "nonce": hex_of(header.nonce),
        "baseFeePerGas": hex_of(header.base_fee),
    }


def tx_json(transaction: Transaction, stored: StoredBlock | None, index: int) -> dict[str, Any]:
    """A transaction, with its place when a block holds it."""
    to = bytes(transaction.to)
    shape: dict[str, Any] = {
        "hash": hex_of(bytes(transaction.hash)),
        "type": hex_of(transaction.type_id or 0),
        "chainId": hex_of(transaction.chain_id or 0),
        "nonce": hex_of(transaction.nonce),
        "from": to_checksum_address(transaction.sender),
        "to": None if to == CREATE_CONTRACT_ADDRESS else to_checksum_address(to),
        "value": hex_of(transaction.value),
        "gas": hex_of(transaction.gas),
        "input": hex_of(bytes(transaction.data)),
        "r": hex_of(transaction.r),
        "s": hex_of(transaction.s),
        "blockHash": None if stored is None else hex_of(stored.hash),
        "blockNumber": None if stored is None else hex_of(stored.header.number),
        "transactionIndex": None if stored is None else hex_of(index),
    }
    base_fee = 0 if stored is None else stored.header.base_fee
    shape["gasPrice"] = hex_of(_effective_price(transaction, base_fee))
    if transaction.type_id is None:
        # EIP-155 puts the chain id into v.
        shape["v"] = hex_of(35 + 2 * (transaction.chain_id or 0) + transaction.y_parity)
        return shape
    shape["v"] = shape["yParity"] = hex_of(transaction.y_parity)
    shape["accessList"] = [
        {"address": to_checksum_address(address), "storageKeys": [hex_of(slot.to_bytes(32, "big")) for slot in slots]}
        for address, slots in transaction.access_list
    ]
    if transaction.type_id == 2:  # noqa: PLR2004
        shape["maxFeePerGas"] = hex_of(transaction.max_fee_per_gas)
        shape["maxPriorityFeePerGas"] = hex_of(transaction.max_priority_fee_per_gas)
    return shape


def _effective_price(transaction: Transaction, base_fee: int) -> int:
    return min(transaction.max_fee_per_gas, base_fee + transaction.max_priority_fee_per_gas)


def receipt_json(view: ChainView, stored: StoredBlock, index: int) -> dict[str, Any]:
    """The receipt of one transaction of a block."""
    receipt = view.receipt_at(stored, index)
    transaction = decode_transaction(stored.transactions[index], view.chain_id)
    decoded = [decode_receipt(raw) for raw in stored.receipts[: index + 1]]
    first_log = sum(len(logs) for _, _, logs in decoded[:-1])
    deployed = receipt.contract_address
    to = bytes(transaction.to)
    return {
        "transactionHash": hex_of(receipt.tx_hash),
        "transactionIndex": hex_of(index),
        "blockHash": hex_of(stored.hash),
        "blockNumber": hex_of(stored.header.number),
        "from": to_checksum_address(transaction.sender),
        "to": None if to == CREATE_CONTRACT_ADDRESS else to_checksum_address(to),
        "cumulativeGasUsed": hex_of(decoded[-1][1]),
        "gasUsed": hex_of(receipt.gas_used),
        "effectiveGasPrice": hex_of(_effective_price(transaction, stored.header.base_fee)),
        "contractAddress": None if deployed is None else to_checksum_address(deployed),
        "logs": [log_json(log, stored, index, first_log + i) for i, log in enumerate(receipt.logs)],
        "logsBloom": hex_of(bloom_of(receipt.logs)),
        "status": hex_of(int(receipt.succeeded)),
        "type": hex_of(transaction.type_id or 0),
    }


def log_json(log: Log, stored: StoredBlock, index: int, log_index: int) -> dict[str, Any]:
    """One event; `log_index` counts through the block."""
    return {
        "address": to_checksum_address(log.address),
        "topics": [hex_of(topic) for topic in log.topics],
        "data": hex_of(log.data),
        "blockNumber": hex_of(stored.header.number),
        "blockHash": hex_of(stored.hash),
        "transactionHash": hex_of(keccak(stored.transactions[index])),
        "transactionIndex": hex_of(index),
        "logIndex": hex_of(log_index),
        "removed": False,
    }
