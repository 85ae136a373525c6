"""Transactions that wait for a block: in memory, in nonce order, bounded. What cannot execute is turned away."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from terang.ledger.evm import Account, Transaction
from terang.values.errors import ChainRefused

__all__ = ["Mempool"]

_MAX_TRANSACTIONS: Final = 512
_MAX_BYTES: Final = 16 * 1024 * 1024
# What geth takes; a chain of several engines must agree on it (go-ethereum core/txpool, txMaxSize).
_MAX_TRANSACTION_BYTES: Final = 128 * 1024


@dataclass(frozen=True, slots=True)
class _Waiting:
    transaction: Transaction
    hash: bytes
    size_bytes: int
    most_wei: int


class Mempool:
    """The waiting room. Each sender's transactions leave in nonce order, senders in order of arrival."""

    def __init__(self, *, gas_limit: int) -> None:
        self._gas_limit = gas_limit
        self._waiting: dict[bytes, _Waiting] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, tx_hash: bytes) -> bool:
        return tx_hash in self._waiting

    def find(self, tx_hash: bytes) -> Transaction | None:
        """The waiting transaction of this hash."""
        waiting = self._waiting.get(tx_hash)
        return None if waiting is None else waiting.transaction

    def nonce_after(self, sender: bytes, nonce: int) -> int:
        """The account's next nonce: `nonce` plus what waits."""
        return nonce + sum(1 for waiting in self._waiting.values() if waiting.transaction.sender == sender)

    def add(self, transaction: Transaction, account: Account, *, base_fee: int) -> None:
        """Let it wait; raises ChainRefused, with the reason, when it could not execute after those that wait already.

        `account` is the sender's at the head, `base_fee` the next block's [wei per gas].
        """
        tx_hash = bytes(transaction.hash)
        if tx_hash in self._waiting:
            return
        sender = bytes(transaction.sender)
        size = len(transaction.encode())
        most_wei = transaction.gas * transaction.max_fee_per_gas + transaction.value
        self._check_room(size)
        if size > _MAX_TRANSACTION_BYTES:
            raise ChainRefused(f"a transaction of {size} bytes is over the limit of {_MAX_TRANSACTION_BYTES}")
        if account.code:
            raise ChainRefused("a contract cannot send transactions (EIP-3607)")
        self._check_nonce(transaction, self.nonce_after(sender, account.nonce), account.nonce)
        if transaction.gas > self._gas_limit:
            raise ChainRefused(f"{transaction.gas} gas is over the block's limit of {self._gas_limit}")
        if transaction.gas < transaction.intrinsic_gas:
            raise ChainRefused(f"{transaction.gas} gas does not pay for the data; give {transaction.intrinsic_gas}")
        if transaction.max_fee_per_gas < base_fee:
            raise ChainRefused(
                f"the fee cap of {transaction.max_fee_per_gas} wei is below the base fee of {base_fee}; sign it anew"
            )
        spoken_for = sum(w.most_wei for w in self._waiting.values() if w.transaction.sender == sender)
        if account.balance < spoken_for + most_wei:
            raise ChainRefused(
                f"0x{sender.hex()} has {account.balance} wei where up to {spoken_for + most_wei} are needed; fund it"
            )
        self._waiting[tx_hash] = _Waiting(transaction, tx_hash, size, most_wei)
        self._bytes += size

    def _check_room(self, size: int) -> None:
        if len(self._waiting) >= _MAX_TRANSACTIONS or self._bytes + size > _MAX_BYTES:
            raise ChainRefused(f"{len(self._waiting)} transactions wait already; try again after the next block")

    def _check_nonce(self, transaction: Transaction, due: int, sealed: int) -> None:
        nonce = transaction.nonce
        if nonce == due:
            return
        if nonce < sealed:
            raise ChainRefused(f"nonce {nonce} is used up; the next one is {due}")
        if nonce < due:
            raise ChainRefused(f"another transaction with nonce {nonce} waits already; the next one is {due}")
        raise ChainRefused(f"nonce {nonce} leaves a gap; the next one is {due}")

    def pick(self, *, room: int, admit: Callable[[Transaction], bool]) -> list[Transaction]:
        """Those for the next block, as many as `room` [gas] surely holds.

        `admit` says whether one may go now (its fee cap may have fallen below the base fee); one that may not holds
        back its sender's later ones, which could not execute without it.
        """
        picked: list[Transaction] = []
        held_back: set[bytes] = set()
        for waiting in self._waiting.values():
            transaction = waiting.transaction
            if transaction.sender in held_back:
                continue
            if transaction.gas > room or not admit(transaction):
                held_back.add(transaction.sender)
                continue
            room -= transaction.gas
            picked.append(transaction)
        return picked

    def remove(self, tx_hashes: Iterable[bytes]) -> None:
        """Forget these: they are sealed, or cannot be."""
        for tx_hash in tx_hashes:
            waiting = self._waiting.pop(tx_hash, None)
            if waiting is not None:
                self._bytes -= waiting.size_bytes
