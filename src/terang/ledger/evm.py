"""The virtual machine: py-evm with London rules, given state and headers by the caller and writing nowhere itself.

py-evm's own chain classes are not used. They keep each transaction and receipt twice, in tries that the block's roots
already vouch for, and take the wall clock from the machine.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import rlp
from eth.abc import (
    AtomicWriteBatchAPI,
    BlockAPI,
    BlockHeaderAPI,
    ComputationAPI,
    ReceiptAPI,
    SignedTransactionAPI,
    StateAPI,
    TransactionDecoderAPI,
)
from eth.consensus.clique.clique import CliqueApplier
from eth.consensus.context import ConsensusContext
from eth.constants import BLANK_ROOT_HASH, CREATE_CONTRACT_ADDRESS
from eth.db.backends.base import BaseAtomicDB
from eth.db.chain import ChainDB
from eth.estimators import get_gas_estimator
from eth.exceptions import HeaderNotFound, Revert, VMError
from eth.vm.chain_context import ChainContext
from eth.vm.forks.london import LondonVM
from eth.vm.forks.london.blocks import LondonBlockHeader
from eth.vm.forks.london.headers import calculate_expected_base_fee_per_gas
from eth.vm.forks.london.transactions import LondonTransactionBuilder
from eth.vm.interrupt import EVMMissingData
from eth.vm.spoof import SpoofTransaction
from eth_bloom.bloom import BloomFilter
from eth_typing import Address, Hash32
from eth_utils.exceptions import ValidationError
from trie.hexary import HexaryTrie

from terang.ledger.chain import Log
from terang.ledger.clique import Header
from terang.ledger.genesis import INITIAL_BASE_FEE, Genesis
from terang.values.errors import ChainCorrupt, ChainRefused

__all__ = [
    "Account",
    "CallReverted",
    "Evm",
    "Execution",
    "Transaction",
    "base_fee_after",
    "bloom_of",
    "decode_transaction",
    "ordered_root",
]

# A question may cost the node some seconds of its one processor at most.
_CALL_GAS: Final = 6_000_000
_NOBODY: Final = bytes(20)

Transaction = SignedTransactionAPI
# py-evm raises Python's limit to 100,000 when it is imported, and then a request of 100,000 opening brackets overflows
# the real stack and kills the process. Calls nested until a block's gas is used up need fewer than 5,000 (measured).
sys.setrecursionlimit(12_000)

# The applier amends one pair for each fork; this chain has one fork.
_CLIQUE_LONDON: Final = CliqueApplier().amend_vm_configuration(((cast("Any", 0), LondonVM),))[0][1]


class CallReverted(ChainRefused):
    """A contract said no; `data` is what it returned while reverting."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data


class _Vm(_CLIQUE_LONDON):  # type: ignore[misc,valid-type]
    """London under Clique. A block pays no reward.

    py-evm would touch the zero coinbase to add a reward of nothing and so leave an empty account in the state, which
    every other client refuses as a wrong state root.
    """

    def _assign_block_rewards(self, block: BlockAPI) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account's `nonce`, `balance` [wei] and code."""

    nonce: int
    balance: int
    code: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What executing transactions made of a header: roots, gas and bloom filled in, not sealed again.

    `receipts` in their encoded form, in order; `state` the new trie nodes and codes by hash; `left_out` the hashes of
    transactions that could not execute, each with the reason.
    """

    header: Header
    transactions: tuple[bytes, ...]
    receipts: tuple[bytes, ...]
    state: Mapping[bytes, bytes]
    left_out: Mapping[bytes, str]


class _Overlay(BaseAtomicDB):
    """State as py-evm reads it; what it writes is kept apart in `written`, for the caller to commit or forget."""

    def __init__(self, read: Callable[[bytes], bytes | None]) -> None:
        self._read = read
        self.written: dict[bytes, bytes] = {}

    def __getitem__(self, key: bytes) -> bytes:
        value = self.written.get(key)
        if value is None:
            value = self._read(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.written[key] = value

    def __delitem__(self, key: bytes) -> None:
        del self.written[key]

    def _exists(self, key: bytes) -> bool:
        return key in self.written or self._read(key) is not None

    @contextmanager
    def atomic_batch(self) -> Iterator[AtomicWriteBatchAPI]:
        """This database itself: a failed block is forgotten whole, so nothing need be undone."""
        yield cast(AtomicWriteBatchAPI, self)


class _Headers(ChainDB):
    """All that the machine may ask about the chain: headers by hash. Bodies have a place of their own."""

    def __init__(self, db: _Overlay, find: Callable[[bytes], bytes | None]) -> None:
        super().__init__(db)
        self._find = find

    def get_block_header_by_hash(self, block_hash: Hash32) -> BlockHeaderAPI:
        raw = self._find(block_hash)
        if raw is None:
            raise HeaderNotFound(f"no header 0x{block_hash.hex()}")
        return _to_evm(raw)

    def get_block_transactions(
        self,
        header: BlockHeaderAPI,  # noqa: ARG002
        transaction_decoder: type[TransactionDecoderAPI],  # noqa: ARG002
    ) -> tuple[SignedTransactionAPI, ...]:
        return ()

    def persist_trie_data_dict(self, trie_data_dict: dict[Hash32, bytes]) -> None:
        """Dropped: the tries over transactions and receipts can be made again from the block."""


def _to_evm(raw: bytes) -> BlockHeaderAPI:
    return cast(BlockHeaderAPI, rlp.decode(raw, sedes=LondonBlockHeader))


def base_fee_after(parent: Header) -> int:
    """The base fee [wei per gas] of the block that follows (EIP-1559)."""
    return calculate_expected_base_fee_per_gas(_to_evm(parent.encode()))


def decode_transaction(raw: bytes, chain_id: int) -> Transaction:
    """The signed transaction in these bytes, its signature and chain id checked; raises ChainRefused otherwise."""
    try:
        transaction = LondonTransactionBuilder.decode(raw)
        transaction.validate()
        transaction.check_signature_validity()
        sender = transaction.sender
    except Exception as error:  # py-evm and rlp raise a dozen unrelated kinds on foreign bytes
        raise ChainRefused(f"not a signed transaction of a kind this chain takes: {error}") from error
    if transaction.encode() != raw:
        raise ChainRefused("the transaction is not in canonical RLP; encode it again")
    if transaction.chain_id != chain_id:
        raise ChainRefused(f"the transaction is signed for chain {transaction.chain_id}, this is chain {chain_id}")
    if transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
        raise ChainRefused("the transaction offers a tip above its own fee cap")
    if not sender:
        raise ChainRefused("the transaction's sender cannot be recovered")
    return transaction


class Evm:
    """Executes blocks and calls of one chain over state that the caller keeps.

    `read_state` gives a trie node or code by its hash, `find_header` a header's RLP by block hash.
    """

    def __init__(
        self,
        *,
        chain_id: int,
        read_state: Callable[[bytes], bytes | None],
        find_header: Callable[[bytes], bytes | None],
    ) -> None:
        self.chain_id = chain_id
        self._read_state = read_state
        self._find_header = find_header

    def make_genesis(self, genesis: Genesis) -> tuple[Header, dict[bytes, bytes]]:
        """The first header and the state it names."""
        overlay = _Overlay(self._read_state)
        blank = LondonBlockHeader(difficulty=1, block_number=cast("Any", 0), gas_limit=genesis.gas_limit, timestamp=0)
        state = _Vm.build_state(overlay, blank, ChainContext(self.chain_id))
        for address, balance in genesis.alloc.items():
            state.set_balance(address, balance)
        state.persist()
        header = LondonBlockHeader(
            difficulty=1,
            block_number=cast("Any", 0),
            gas_limit=genesis.gas_limit,
            timestamp=genesis.timestamp_s,
            extra_data=genesis.extra_data,
            state_root=state.state_root,
            nonce=bytes(8),
            base_fee_per_gas=INITIAL_BASE_FEE,
        )
        return Header.decode(rlp.encode(header)), overlay.written

    def execute(self, header: Header, parent: Header, transactions: Sequence[Transaction]) -> Execution:
        """Run the transactions in a block with this header, whose seal names who gets the tips.

        Transactions that cannot execute are left out with a reason; a caller that imports a block must refuse it then.
        Raises ChainCorrupt when gas limit, base fee or the header's form break London rules.
        """
        overlay = _Overlay(self._read_state)
        whole = _to_evm(header.encode())
        template = whole.copy(
            state_root=parent.state_root,
            transaction_root=BLANK_ROOT_HASH,
            receipt_root=BLANK_ROOT_HASH,
            bloom=0,
            gas_used=0,
        )
        vm = self._vm(template, overlay)
        # The tips go to whom the seal names, and only the whole header gives the signer back.
        context = _Vm.create_execution_context(whole, vm.previous_hashes, ChainContext(self.chain_id))
        vm._state = _Vm.get_state_class()(overlay, context, parent.state_root)  # noqa: SLF001
        applied: list[SignedTransactionAPI] = []
        receipts: list[ReceiptAPI] = []
        left_out: dict[bytes, str] = {}
        result = template
        try:
            for transaction in transactions:
                try:
                    receipt, _ = vm.apply_transaction(result, transaction)
                except ValidationError as error:
                    left_out[transaction.hash] = str(error)
                    continue
                result = vm.add_receipt_to_header(result, receipt)
                applied.append(transaction)
                receipts.append(receipt)
            filled = vm.set_block_transactions_and_withdrawals(vm.get_block(), result, applied, receipts)
            final = vm.finalize_block(vm.pack_block(filled)).block
            vm.validate_block(final)
        except EVMMissingData as error:
            raise ChainCorrupt(f"state of block {parent.number} is not complete: {error!r}") from error
        except ValidationError as error:
            raise ChainCorrupt(f"block {header.number} breaks London rules: {error}") from error
        return Execution(
            header=Header.decode(rlp.encode(final.header)),
            transactions=tuple(transaction.encode() for transaction in applied),
            receipts=tuple(receipt.encode() for receipt in receipts),
            state=overlay.written,
            left_out=left_out,
        )

    def account(self, at: Header, address: bytes) -> Account:
        """The account as it stands after block `at`."""
        state = self._state_after(at)
        who = Address(address)
        return Account(nonce=state.get_nonce(who), balance=state.get_balance(who), code=state.get_code(who))

    def storage(self, at: Header, address: bytes, slot: int) -> int:
        """The word in this storage slot after block `at`."""
        return self._state_after(at).get_storage(Address(address), slot)

    def call(self, at: Header, *, to: bytes, data: bytes, sender: bytes = _NOBODY, value: int = 0) -> bytes:
        """What a call returns after block `at`, changing nothing. Raises CallReverted when it fails."""
        vm = self._vm(_next_template(at), _Overlay(self._read_state))
        who, target = Address(sender), Address(to)
        state = vm.state
        # Enough to hand over `value`: a question must not depend on what the one who asks has in the purse.
        state.set_balance(who, state.get_balance(who) + value)
        computation = vm.execute_bytecode(
            origin=who,
            gas_price=0,
            gas=_CALL_GAS,
            to=target,
            sender=who,
            value=value,
            data=data,
            code=state.get_code(target),
        )
        _raise_if_failed(computation)
        return bytes(computation.output)

    def estimate_gas(self, at: Header, *, to: bytes | None, data: bytes, sender: bytes, value: int = 0) -> int:
        """Gas a transaction would need after block `at`, by search. Raises CallReverted when it never succeeds."""
        template = _next_template(at).copy(base_fee_per_gas=0, gas_limit=_CALL_GAS)
        vm = self._vm(template, _Overlay(self._read_state))
        state = vm.state
        who = Address(sender)
        unsigned = vm.create_unsigned_transaction(
            nonce=state.get_nonce(who),
            gas_price=0,
            gas=_CALL_GAS,
            to=Address(CREATE_CONTRACT_ADDRESS if to is None else to),
            value=value,
            data=data,
        )
        transaction = cast(SignedTransactionAPI, SpoofTransaction(unsigned, from_=who))
        try:
            return get_gas_estimator()(state, transaction)
        except Revert as error:
            raise _reverted(bytes(error.args[0]) if error.args else b"") from error
        except (VMError, ValidationError) as error:
            raise CallReverted(f"execution failed: {error}", b"") from error

    def _state_after(self, at: Header) -> StateAPI:
        return cast(StateAPI, self._vm(_next_template(at), _Overlay(self._read_state)).state)

    def _vm(self, header: BlockHeaderAPI, overlay: _Overlay) -> _Vm:
        if header.state_root not in overlay and header.state_root != BLANK_ROOT_HASH:
            raise ChainRefused("the state of that block is pruned; ask about one of the last blocks")
        return _Vm(
            header=header,
            chaindb=_Headers(overlay, self._find_header),
            chain_context=ChainContext(self.chain_id),
            consensus_context=ConsensusContext(overlay),
        )


def _next_template(parent: Header) -> BlockHeaderAPI:
    """A header after `parent` without a seal, good enough to ask questions in."""
    header = LondonBlockHeader(
        difficulty=parent.difficulty,
        block_number=cast("Any", parent.number + 1),
        gas_limit=parent.gas_limit,
        timestamp=parent.timestamp_s + 1,
        parent_hash=cast(Hash32, parent.hash),
        state_root=cast(Hash32, parent.state_root),
        base_fee_per_gas=base_fee_after(parent),
    )
    return cast(BlockHeaderAPI, header)


def _raise_if_failed(computation: ComputationAPI) -> None:
    if not computation.is_error:
        return
    if isinstance(computation.error, Revert):
        raise _reverted(bytes(computation.output))
    raise CallReverted(f"execution failed: {computation.error}", b"")


def _reverted(output: bytes) -> CallReverted:
    reason = ""
    # Error(string), the form in which Solidity and Vyper give reasons.
    if output[:4] == bytes.fromhex("08c379a0") and len(output) >= 68:  # noqa: PLR2004
        length = int.from_bytes(output[36:68], "big")
        reason = ": " + output[68 : 68 + length].decode("utf-8", "replace")
    return CallReverted(f"execution reverted{reason}", output)


def ordered_root(items: Sequence[bytes]) -> bytes:
    """The root over transactions or receipts in block order, as a header names it (Yellow Paper 4.4.2)."""
    trie = HexaryTrie({})
    for index, item in enumerate(items):
        trie[rlp.encode(index)] = item
    return bytes(trie.root_hash)


def bloom_of(logs: Sequence[Log]) -> bytes:
    """The 256 bytes of bloom filter over these logs (Yellow Paper 4.4.1)."""
    bloom = BloomFilter()
    for log in logs:
        bloom.add(log.address)
        for topic in log.topics:
            bloom.add(topic)
    return int(bloom).to_bytes(256, "big")
