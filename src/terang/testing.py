"""Fakes that ship: a device that signs, a chain in memory, and a whole platform in one thread.

They keep the rules of what they stand for: the chain refuses nonces out of order and batches that do not extend the
head, the platform commits through the same single writer. For tests of kits, of devices and of Terang itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from eth_abi.abi import encode
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

from terang.audit.findings import Findings
from terang.audit.run import run_audit
from terang.commit import Outcome
from terang.kit import Kit
from terang.kits.meter import KIT as METER
from terang.ledger.anchoring import Anchorer
from terang.ledger.chain import Activity, Block, BlockEvidence, BlockId, ChainEvent, ChainStatus, Log, Receipt
from terang.ledger.clique import EMPTY_UNCLES_HASH, Header, seal_header
from terang.ledger.committer import Committer
from terang.ledger.contract import LogHead, contract_runtime, decode_anchor_call, encode_head_query
from terang.ledger.evidence import encode_receipt
from terang.ledger.evm import bloom_of, decode_transaction, ordered_root
from terang.ledger.merkle import verify_consistency
from terang.ledger.signing_state import SigningState
from terang.log_writer import LogWriter
from terang.pipeline import Incoming, Pipeline
from terang.serve.pages import Pages
from terang.store.log_reader import LogReader
from terang.store.writer import StoreWriter
from terang.values.clock import FakeClock
from terang.values.command import AdoptDevice, Ask, Command, Done
from terang.values.envelope import (
    EVENT,
    FIRST_PREVIOUS,
    LOST,
    READINGS,
    TIME,
    Envelope,
    device_id,
    encode_payload,
    envelope_hash,
)
from terang.values.errors import ChainCorrupt, ChainRefused, ProofError, UsageError
from terang.values.quantity import QUANTITIES
from terang.values.reading import CLOCK_SYNCED, CLOCK_UNKNOWN, Event, Lost, Readings, TimeFix
from terang.values.signing import KeyPair, sign_statement

__all__ = ["MEMORY_SIGNER", "FakeDevice", "MemoryChain", "MiniPlatform", "Values", "audit_directory", "moment"]

Values = tuple[int, ...]
"""One moment's six quantities in the order of `quantity.QUANTITIES`."""

_ANCHORED = keccak(text="Anchored(bytes32,uint64,uint64,bytes32)")
_CONTRACT = b"\xc0" * 20
MEMORY_SIGNER = PrivateKey(b"\x05" * 32)
"""Who seals the blocks of a MemoryChain."""
_CODES = tuple(quantity.code for quantity in QUANTITIES)


def moment(energy_mwh: int, power_mw: int = 220_000, voltage_mv: int = 220_000) -> Values:
    """A room at 220 V with a lamp of 220 W and its meter's counter at `energy_mwh`: plausible unless told otherwise."""
    return (voltage_mv, 1_000, power_mw, energy_mwh, 50_000, 1_000)


class FakeDevice:
    """A device whose key comes from a number: signs envelopes in order, and any other envelope when asked to.

    `epoch` and `sequence` say what the next envelope will be.
    """

    def __init__(self, number: int = 1, *, epoch: int = 1) -> None:
        self.key = KeyPair(number.to_bytes(32, "big"))
        self.id = device_id(self.key.public)
        self.previous = FIRST_PREVIOUS
        self.epoch = epoch.to_bytes(8, "big")
        self.sequence = 0

    def restart(self, epoch: int) -> None:
        """Begin another epoch, as a new process of the device does."""
        self.epoch = epoch.to_bytes(8, "big")
        self.sequence = 0

    def say(
        self,
        kind: int,
        body: object,
        *,
        meter: int = 1,
        uptime_ms: int = 0,
        utc_ms: int | None = None,
        attested_by: int = 0,
        clock: int | None = None,
    ) -> bytes:
        """The next envelope."""
        known = clock if clock is not None else CLOCK_UNKNOWN if utc_ms is None else CLOCK_SYNCED
        head = (kind, self.id, self.epoch, self.sequence, self.previous, meter)
        data = self.sign(Envelope(*head, attested_by, uptime_ms, utc_ms, known, body))
        self.sequence += 1
        self.previous = envelope_hash(data)
        return data

    def sign(self, envelope: Envelope) -> bytes:
        """Any envelope, signed; what comes next does not change."""
        return sign_statement(self.key, encode_payload(envelope))

    def readings(
        self,
        values: Sequence[Values],
        *,
        utc_ms: int | None,
        every_ms: int = 1000,
        offsets_ms: Sequence[int] | None = None,
        meter: int = 1,
        uptime_ms: int = 0,
    ) -> bytes:
        """The next envelope, with one reading for each of `values`, the first at `utc_ms` (None: time unknown)."""
        offsets = tuple(range(0, len(values) * every_ms, every_ms)) if offsets_ms is None else tuple(offsets_ms)
        columns = dict(zip(_CODES, zip(*values, strict=True), strict=True))
        return self.say(READINGS, Readings(offsets, columns), meter=meter, utc_ms=utc_ms, uptime_ms=uptime_ms)

    def lost(self, first: int, end: int, *, reads: int = 0, reason: str = "disk_full", meter: int = 1) -> bytes:
        """The next envelope: sequences [first, end) of this epoch will never come."""
        return self.say(LOST, Lost(self.epoch, first, end, 0, 0, reads, reason), meter=meter)

    def time(self, uptime_ms: int, utc_ms: int, *, epoch: bytes | None = None, meter: int = 1) -> bytes:
        """The next envelope: at this uptime it was `utc_ms`."""
        fix = TimeFix(self.epoch if epoch is None else epoch, uptime_ms, utc_ms, CLOCK_SYNCED)
        return self.say(TIME, fix, meter=meter, uptime_ms=uptime_ms, utc_ms=utc_ms)

    def event(self, name: str, detail: int = 0, *, meter: int = 1) -> bytes:
        """The next envelope: something happened."""
        return self.say(EVENT, Event(name, detail), meter=meter)


@dataclass(slots=True)
class _Sealed:
    receipt: Receipt
    calldata: bytes


class MemoryChain:
    """A chain with the anchor contract at `contract` and nothing else, in memory. Implements `ledger.chain.Chain`.

    With `at_once` every transaction is sealed as it is submitted; else `seal` puts what waits into one block, and
    `forget` loses what waits, as a restarted node does.
    """

    chain_id = 20_260
    base_fee = 1_000_000_000
    contract = _CONTRACT
    signer = MEMORY_SIGNER.public_key.to_canonical_address()

    def __init__(self, *, at_once: bool = True) -> None:
        self.at_once = at_once
        self.heads: dict[bytes, LogHead] = {}
        self._waiting: dict[bytes, bytes] = {}
        self._sealed: dict[bytes, _Sealed] = {}
        self._nonces: dict[bytes, int] = {}
        self._headers: list[Header] = []
        self._receipts: list[tuple[bytes, ...]] = []
        self._blocks: list[Block] = []
        self._append((), [])

    def submit(self, raw: bytes) -> bytes:
        """See Chain."""
        tx_hash = keccak(raw)
        if tx_hash in self._sealed or tx_hash in self._waiting:
            return tx_hash
        transaction = decode_transaction(raw, self.chain_id)
        due = self.nonce(bytes(transaction.sender))
        if transaction.nonce != due:
            raise ChainRefused(f"nonce {transaction.nonce} cannot be next; {due} is")
        self._waiting[tx_hash] = raw
        if self.at_once:
            self.seal()
        return tx_hash

    def seal(self) -> Block | None:
        """One block with all that waits; None where nothing does."""
        if not self._waiting:
            return None
        done = [(tx_hash, decode_transaction(raw, self.chain_id)) for tx_hash, raw in self._waiting.items()]
        logs = [
            self._execute(bytes(tx.data)) if bytes(tx.to) == self.contract else None for _, tx in done
        ]
        block = self._append(tuple(tx_hash for tx_hash, _ in done), logs)
        for index, ((tx_hash, transaction), log) in enumerate(zip(done, logs, strict=True)):
            sender = bytes(transaction.sender)
            self._nonces[sender] = self._nonces.get(sender, 0) + 1
            receipt = Receipt(
                tx_hash=tx_hash,
                block_number=block.number,
                block_hash=block.hash,
                index=index,
                succeeded=log is not None,
                gas_used=21_000,
                contract_address=None,
                logs=() if log is None else (log,),
            )
            self._sealed[tx_hash] = _Sealed(receipt, bytes(transaction.data))
        self._waiting.clear()
        return block

    def forget(self) -> None:
        """Lose every transaction that waits for a block."""
        self._waiting.clear()

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """See Chain."""
        sealed = self._sealed.get(tx_hash)
        return None if sealed is None else sealed.receipt

    def transaction(self, tx_hash: bytes) -> bytes | None:
        """See Chain."""
        sealed = self._sealed.get(tx_hash)
        return None if sealed is None else sealed.calldata

    def block(self, block_id: BlockId) -> Block | None:
        """See Chain."""
        number = len(self._blocks) - 1 if block_id == "latest" else block_id
        return self._blocks[number] if 0 <= number < len(self._blocks) else None

    def call(self, to: bytes, data: bytes) -> bytes:
        """See Chain; knows the one question for a site's head."""
        site = data[4:36]
        if to != self.contract or data != encode_head_query(site):
            raise ChainRefused("this chain has one contract, which is asked for heads only")
        head = self.heads.get(site, LogHead(size=0, root=bytes(32)))
        return bytes(encode(["uint64", "bytes32"], [head.size, head.root]))

    def events(self, address: bytes, topics: tuple[bytes, ...], begin: int, end: int) -> list[ChainEvent]:
        """See Chain."""
        receipts = [
            self._sealed[tx_hash].receipt
            for block in self._blocks[max(begin, 0) : end]
            for tx_hash in block.tx_hashes
        ]
        return [
            ChainEvent(
                log=log,
                tx_hash=receipt.tx_hash,
                block_number=receipt.block_number,
                block_hash=receipt.block_hash,
                index=receipt.index,
            )
            for receipt in receipts
            for log in receipt.logs
            if log.address == address and log.topics[: len(topics)] == topics
        ]

    def code(self, address: bytes) -> bytes:
        """See Chain."""
        return contract_runtime() if address == self.contract else b""

    def nonce(self, address: bytes) -> int:
        """See Chain."""
        waiting = [decode_transaction(raw, self.chain_id) for raw in self._waiting.values()]
        return self._nonces.get(address, 0) + sum(1 for transaction in waiting if transaction.sender == address)

    def status(self) -> ChainStatus:
        """See Chain."""
        return ChainStatus(activity=Activity.SEALING)

    def _execute(self, calldata: bytes) -> Log | None:
        """What the contract leaves; None where it reverts."""
        try:
            call = decode_anchor_call(calldata)
            head = self.heads.get(call.site, LogHead(size=0, root=bytes(32)))
            if call.old_size != head.size:
                return None
            if head.size:
                verify_consistency(head.size, call.new_size, head.root, call.root, call.proof)
        except (ChainCorrupt, ProofError):
            return None
        self.heads[call.site] = LogHead(size=call.new_size, root=call.root)
        data = encode(["uint64", "uint64", "bytes32"], [call.old_size, call.new_size, call.root])
        return Log(address=self.contract, topics=(_ANCHORED, call.site), data=bytes(data))

    def evidence(self, number: int) -> BlockEvidence | None:
        """See Chain."""
        if not 0 <= number < len(self._headers):
            return None
        return BlockEvidence(header=self._headers[number].encode(), receipts=self._receipts[number])

    def _append(self, hashes: tuple[bytes, ...], logs: list[Log | None]) -> Block:
        """The next block: a real header over these receipts, sealed under Clique; the first one names the signer."""
        number = len(self._headers)
        receipts = tuple(
            encode_receipt(
                kind=2,
                succeeded=log is not None,
                gas=21_000 * (at + 1),
                bloom=bloom_of([] if log is None else [log]),
                logs=[] if log is None else [log],
            )
            for at, log in enumerate(logs)
        )
        header = seal_header(
            Header(
                parent_hash=self._headers[-1].hash if number else bytes(32),
                uncles_hash=EMPTY_UNCLES_HASH,
                coinbase=bytes(20),
                state_root=bytes(32),
                transactions_root=keccak(b"".join(hashes)),
                receipts_root=ordered_root(receipts),
                bloom=bloom_of([log for log in logs if log is not None]),
                difficulty=2,
                number=number,
                gas_limit=120_000_000,
                gas_used=21_000 * len(logs),
                timestamp_s=1_763_600_000 + number,
                extra_data=bytes(32) + (b"" if number else self.signer) + bytes(65),
                mix_hash=bytes(32),
                nonce=bytes(8),
                base_fee=self.base_fee,
            ),
            MEMORY_SIGNER,
        )
        self._headers.append(header)
        self._receipts.append(receipts)
        self._blocks.append(
            Block(
                number=number,
                hash=header.hash,
                parent_hash=header.parent_hash,
                timestamp_ms=header.timestamp_s * 1000,
                signer=self.signer,
                size_bytes=500,
                tx_hashes=hashes,
            )
        )
        return self._blocks[-1]


class MiniPlatform:
    """Store, pipeline and ledger in one thread, over a directory; open another on the same one to restart.

    `chain` stays alive over restarts if it is handed on.
    """

    def __init__(
        self,
        directory: Path,
        *,
        chain: MemoryChain | None = None,
        clock: FakeClock | None = None,
        kits: Mapping[str, Kit] | None = None,
    ) -> None:
        self.directory = directory
        self.clock = FakeClock() if clock is None else clock
        self.chain = MemoryChain() if chain is None else chain
        self.key = KeyPair(b"\x11" * 32)
        self.checkpoint_key = KeyPair(b"\x12" * 32)
        self.site = b"\x13" * 32
        self.kits = {"meter": METER} if kits is None else kits
        self.writer = StoreWriter(directory / "store.sqlite")
        self.pipeline = Pipeline(writer=self.writer, kits=self.kits, key=self.key, clock=self.clock)
        with self.writer.transaction():
            self.writer.put_site(
                {
                    "site_id": self.site.hex(),
                    "platform_key": self.key.public.hex(),
                    "checkpoint_key": self.checkpoint_key.public.hex(),
                    "contract": self.chain.contract.hex(),
                }
            )
        self.log = LogReader(directory / "store.sqlite")

    @property
    def signing_state_path(self) -> Path:
        """What was last signed."""
        return self.directory / "signing-state"

    def close(self) -> None:
        """Let go of the files."""
        self.log.close()
        self.writer.close()

    def adopt(self, *devices: FakeDevice) -> None:
        """Take these devices."""
        for device in devices:
            self.order(AdoptDevice(public_key=device.key.public.hex(), name=f"device {device.id.hex()[:4]}"))

    def order(self, command: Command, by: str = "cli") -> Done:
        """Carry out a command; UsageError where it is refused."""
        answer = self.pipeline.execute(Ask(by=by, command=command))
        if not isinstance(answer, Done):
            raise UsageError(answer.reason)
        return answer

    def take(self, *envelopes: bytes) -> Outcome:
        """Accept these in one commit, received now."""
        return self.take_all(envelopes)

    def take_all(self, envelopes: Iterable[bytes]) -> Outcome:
        """The same for any number."""
        now_ms = self.clock.now_ms()
        return self.pipeline.accept([Incoming(data, "terang/v1/x/up", now_ms) for data in envelopes])

    def anchorer(self) -> Anchorer:
        """A committer's work over this store and chain, begun anew."""
        return Anchorer(
            source=self.log,
            target=LogWriter(self.pipeline),
            chain=self.chain,
            committer=Committer(PrivateKey(b"\x02" * 32)),
            contract=self.chain.contract,
            site=self.site,
            signing=SigningState(self.signing_state_path, self.checkpoint_key, "terang/test"),
            clock=self.clock,
        )

    def anchor(self) -> int:
        """Bring everything onto the chain; how many batches still wait."""
        anchorer = self.anchorer()
        anchorer.check_start()
        anchorer.cut()
        anchorer.send()
        return anchorer.settle()

    def audit(self) -> Findings:
        """What differs between store, log, signing state and chain."""
        return audit_directory(self.directory, self.chain, self.kits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def audit_directory(directory: Path, chain: MemoryChain | None, kits: Mapping[str, Kit]) -> Findings:
    """Audit what a MiniPlatform has left in a directory, reading only."""
    log = LogReader(directory / "store.sqlite")
    pages = Pages(log, chain, FakeClock())
    try:
        return run_audit(
            store=pages,
            log=log,
            chain=chain,
            verify_chain=None,
            data_of=pages.data_of,
            kits=kits,
            signing_state=directory / "signing-state",
            progress=_tell_nobody,
        )
    finally:
        log.close()


def _tell_nobody(_what: str, _done: int, _total: int) -> None:
    return
