"""`terang bench ledger`: what a proof-of-authority chain costs a reading, and what really limits it.

The abstract that began this project wrote each reading as a transaction of its own and found the chain slower than a
database. Here the same readings go in four ways: into bare SQLite, one transaction a reading, in batches with their
data, and as roots only; through the embedded chain, and through geth nodes where one is named. Blocks come once a
second at most, as on a real network: a way that computes faster than that waits for its block.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_keys.datatypes import PrivateKey
from eth_utils.address import to_checksum_address

from terang.acts import Unsaid
from terang.audit.run import run_audit
from terang.bench.baseline import sqlite_rows_per_s
from terang.bench.geth_network import GethNetwork
from terang.bench.load import BenchDevice, make_envelopes
from terang.bench.still_house import StillHouse, open_still_house
from terang.bench.table import Line
from terang.kits_installed import load_kits
from terang.ledger.anchoring import Anchorer
from terang.ledger.batch import Item, encode
from terang.ledger.committer import Committer
from terang.ledger.contract import AnchorCall
from terang.ledger.merkle import consistency_proof, leaf_nodes, root_hash
from terang.ledger.rpc_chain import RpcChain
from terang.ledger.signing_state import SigningState
from terang.log_writer import LogWriter
from terang.pipeline import Incoming, Pipeline
from terang.restore import anchors_of, restore_log
from terang.serve.pages import Pages
from terang.store.log_reader import LogReader
from terang.store.writer import StoreWriter
from terang.values.clock import SystemClock
from terang.values.errors import TerangError
from terang.values.record import ENVELOPE
from terang.values.signing import KeyPair

__all__ = ["bench_ledger"]

_Say = Callable[[str], None]
_NAIVE, _NAIVE_GETH, _BLOCK = 1000, 300, 500
_READING = bytes(range(32))  # the abstract's packed reading
_TX_GAS = 22_000
_WAIT_S = 120
_PER, _USUAL = (1, 6, 10, 60, 600), 60
_BARS = {"embedded": 300.0, "three": 50.0, "sqlite": 0.5, "speed": 50_000.0, "bytes": 12.0}


def bench_ledger(say: _Say, *, scale: float = 1.0, geth: Path | None = None) -> list[Line]:
    """Measure; `scale` makes runs shorter or longer, `geth` is the program (1.13.15) for a network of three."""
    with tempfile.TemporaryDirectory(prefix="terang-bench-") as name:
        base = Path(name)
        say("bare SQLite")
        bare = sqlite_rows_per_s(base, batch=1000)
        say("one transaction a reading, embedded")
        naive = _naive_embedded(base / "naive")
        say("batches, embedded")
        count = max(500, int(10_000 * scale))
        batched, roots, lines = _batched(base / "batched", count)
        out = [
            Line("bare SQLite, batches of 1,000, readings/s", f"{bare:,.0f}"),
            Line("embedded: one transaction a reading, readings/s", f"{naive:,.0f}"),
            Line("embedded: batches of 60 a signature, readings/s; to one a reading", f"{batched:,.0f}",
                 batched / naive, _BARS["embedded"]),
            Line("embedded: the same; to bare SQLite", "", batched / bare, _BARS["sqlite"]),
            Line("embedded: roots only, readings/s", f"{roots:,.0f}"),
            *lines,
        ]  # fmt: skip
        for per in _PER:
            figure = _bytes_a_reading(per)
            out.append(Line(f"chain bytes a reading, {per} an envelope, signed", f"{figure:.1f}",
                            figure if per == _USUAL else None, _BARS["bytes"], True))  # fmt: skip
        if geth is not None:
            for signers in (1, 3):
                say(f"{signers} geth signer(s)")
                out += _geth(base / f"geth{signers}", geth, signers, max(200, int(3000 * scale)))
        else:
            out.append(Line("geth: not measured; name the program with --geth", "-"))
    return out


def _naive_embedded(directory: Path) -> float:
    """Readings a second when each is a signed transaction; blocks once a second."""
    directory.mkdir()
    house, _ = open_still_house(directory, rooms=1)
    account = Account.from_key(house.committer.to_bytes())
    chain, begun, blocks = house.chain, time.perf_counter(), 0
    nonce = chain.nonce(house.committer.public_key.to_canonical_address())
    for number in range(_NAIVE):
        chain.submit(_one_reading(account, chain.chain_id, nonce + number, chain.base_fee))
        if (number + 1) % _BLOCK == 0:
            house.clock.advance(1000)
            chain.seal()
            blocks += 1
    taken = max(time.perf_counter() - begun, blocks)
    house.close()
    return _NAIVE / taken


def _one_reading(account: Any, chain_id: int, nonce: int, base_fee: int) -> bytes:
    return _signed(account, chain_id, nonce, base_fee, value=0, to="0x" + "11" * 20, data=_READING)


def _signed(account: Any, chain_id: int, nonce: int, base_fee: int, **said: Any) -> bytes:
    fees = {"maxPriorityFeePerGas": 1, "maxFeePerGas": 10 * base_fee + 1, "gas": _TX_GAS}
    fields = {"type": 2, "chainId": chain_id, "nonce": nonce, **fees, **said}
    return bytes(account.sign_transaction(fields).raw_transaction)


def _batched(directory: Path, envelopes: int) -> tuple[float, float, list[Line]]:
    """Readings a second from stored to anchored, with their data and as roots only; then restore and audit."""
    directory.mkdir()
    house, anchorer = open_still_house(directory, rooms=6)
    _fill(house, envelopes, 60)
    readings = envelopes * 60
    begun, blocks = time.perf_counter(), 0
    anchorer.cut()
    while anchorer.send() or anchorer.settle():
        house.clock.advance(1000)
        house.chain.seal()
        blocks += 1
        anchorer.settle()
    batched = readings / max(time.perf_counter() - begun, blocks - 1)  # the first block need not be waited for
    restored_s = _restore(directory / "again", house)
    audited_s = _audit(directory, house)
    lines = [
        Line(f"{what}, signatures checked, readings/s", f"{readings / taken:,.0f}", readings / taken, _BARS["speed"])
        for what, taken in (("restore", restored_s), ("audit", audited_s))
    ]
    roots = _roots_only(house, readings)
    house.close()
    return batched, roots, lines


def _fill(house: StillHouse, envelopes: int, per: int) -> None:
    """So many envelopes, accepted and stored."""
    share = max(1, envelopes // len(house.devices))
    made = [make_envelopes(device, share, per, house.clock.now_ms()) for device in house.devices]
    house.clock.advance(share * per * 1000)
    flat = [data for moment in zip(*made, strict=True) for data in moment]
    for at in range(0, len(flat), 500):
        house.pipeline.accept([Incoming(data, "", house.clock.now_ms()) for data in flat[at : at + 500]])


def _roots_only(house: StillHouse, readings: int) -> float:
    """The same records hashed to one root a thousand, and the roots alone anchored, for another site: what a chain of
    hashes costs, with the data nowhere but in the database.
    """
    committer, site = Committer(PrivateKey(b"\x31" * 32)), bytes(31) + b"\x02"
    records = house.log.records(0, house.log.size())
    fields = {"chain_id": house.chain.chain_id, "base_fee": house.chain.base_fee}
    _fund(house, committer.address)
    house.included(committer.register(site, contract=house.contract, nonce=0, **fields))
    nodes = leaf_nodes([record.leaf for record in records])
    begun, nonce, old = time.perf_counter(), 1, 0
    for new in [*range(1000, len(records), 1000), len(records)]:
        proof = tuple(consistency_proof(nodes, old, new))
        call = AnchorCall(site=site, old_size=old, new_size=new, root=root_hash(nodes, new), proof=proof, data=b"")
        house.chain.submit(committer.anchor(call, contract=house.contract, nonce=nonce, **fields))
        nonce, old = nonce + 1, new
    house.clock.advance(1000)
    house.chain.seal()
    return readings / (time.perf_counter() - begun)


def _fund(house: StillHouse, address: bytes) -> None:
    account, chain = Account.from_key(house.committer.to_bytes()), house.chain
    nonce = chain.nonce(house.committer.public_key.to_canonical_address())
    to = to_checksum_address(address)
    house.included(_signed(account, chain.chain_id, nonce, chain.base_fee, value=10**20, to=to))


def _restore(directory: Path, house: StillHouse) -> float:
    """Seconds to make the store anew from the chain."""
    directory.mkdir()
    writer = StoreWriter(directory / "store.sqlite")
    log = LogReader(directory / "store.sqlite")
    begun = time.perf_counter()
    restore_log(
        anchors_of(house.chain, house.contract, house.site),
        pipeline=Pipeline(writer=writer, kits=load_kits(), key=house.key, clock=house.clock),
        log=log,
        checkpoint_key=house.key,
        site=house.site,
        unsaid=lambda act: Unsaid(name=str(act.values[0])),
        progress=lambda _: None,
    )
    taken = time.perf_counter() - begun
    log.close()
    writer.close()
    return taken


def _audit(directory: Path, house: StillHouse) -> float:
    """Seconds to compare store, log, signing state and chain."""
    pages = Pages(house.log, house.chain, house.clock)
    begun = time.perf_counter()
    findings = run_audit(
        store=pages,
        log=LogReader(directory / "store.sqlite"),
        chain=house.chain,
        verify_chain=lambda: house.chain.verify(house.clock.now_ms() // 1000),
        data_of=pages.data_of,
        kits=load_kits(),
        signing_state=directory / "signing-state",
        progress=lambda *_: None,
    )
    taken = time.perf_counter() - begun
    if findings.count:
        raise TerangError(f"the bench's own house does not agree with itself: {findings.kept[0]}")
    return taken


def _bytes_a_reading(per: int) -> float:
    """Bytes of calldata a reading, of a batch as full as may be, from six devices."""
    devices = [BenchDevice(KeyPair.generate(), "", bytes([number]) * 8) for number in range(6)]
    count = max(1, min(900, 90_000 // (64 + 9 * per)) // 6)
    made = [make_envelopes(device, count, per, 1_763_600_000_000) for device in devices]
    items = [Item(ENVELOPE, data) for moment in zip(*made, strict=True) for data in moment]
    return len(encode(items)) / (len(items) * per)


def _geth(directory: Path, geth: Path, signers: int, envelopes: int) -> list[Line]:
    """One transaction a reading, and batches, through a network of so many signers on this machine."""
    directory.mkdir()
    house, _ = open_still_house(directory / "house", rooms=6)
    _fill(house, envelopes, 60)
    address = house.committer.public_key.to_canonical_address()
    with _network(directory / "network", geth, signers, address) as chain:
        committer = Committer(house.committer)
        contract = _contract_on(chain, committer, house.site)
        naive = _naive_geth(chain, house.committer)
        anchorer = Anchorer(
            source=house.log,
            target=LogWriter(house.pipeline),
            chain=chain,
            committer=committer,
            contract=contract,
            site=house.site,
            signing=SigningState(directory / "signing-state", house.key, "terang/bench"),
            clock=SystemClock(),
            confirmations=0 if signers == 1 else 1,
        )
        rate = envelopes * 60 / _anchored_s(anchorer)
        waits = sorted(_one_anchor(house, anchorer) for _ in range(15))
    house.close()
    name = f"geth, {signers} signer{'s' if signers > 1 else ''}"
    bar = _BARS["three"] if signers > 1 else None
    return [
        Line(f"{name}: one transaction a reading, readings/s", f"{naive:,.0f}"),
        Line(f"{name}: batches of 60 a signature, readings/s; to one a reading", f"{rate:,.0f}", rate / naive, bar),
        Line(f"{name}: stored to anchored, p50 s", f"{waits[len(waits) // 2]:.2f}"),
        Line(f"{name}: stored to anchored, slowest of 15, s", f"{waits[-1]:.2f}", waits[-1], 3.0, True),
    ]


def _one_anchor(house: StillHouse, anchorer: Anchorer) -> float:
    """Seconds from a stored reading to its confirmed anchor."""
    _fill(house, 6, 1)
    return _anchored_s(anchorer)


def _anchored_s(anchorer: Anchorer) -> float:
    """Seconds until all that is stored is anchored and confirmed."""
    begun = time.perf_counter()
    anchorer.cut()
    anchorer.send()
    while anchorer.settle():
        time.sleep(0.02)
    return time.perf_counter() - begun


def _contract_on(chain: RpcChain, committer: Committer, site: bytes) -> bytes:
    fields = {"chain_id": chain.chain_id, "base_fee": chain.base_fee}
    receipt = _included(chain, committer.deploy(nonce=chain.nonce(committer.address), **fields))
    contract: bytes = receipt.contract_address
    nonce = chain.nonce(committer.address)
    _included(chain, committer.register(site, contract=contract, nonce=nonce, **fields))
    return contract


def _naive_geth(chain: RpcChain, key: PrivateKey) -> float:
    account, nonce = Account.from_key(key.to_bytes()), chain.nonce(key.public_key.to_canonical_address())
    begun, last = time.perf_counter(), b""
    for number in range(_NAIVE_GETH):
        last = chain.submit(_one_reading(account, chain.chain_id, nonce + number, chain.base_fee))
    _until(lambda: chain.receipt(last))
    return _NAIVE_GETH / (time.perf_counter() - begun)


def _included(chain: RpcChain, raw: bytes) -> Any:
    sent = chain.submit(raw)
    return _until(lambda: chain.receipt(sent))


def _until(ask: Callable[[], Any]) -> Any:
    end_s = time.monotonic() + _WAIT_S
    while not (answer := ask()):
        if time.monotonic() > end_s:
            raise TerangError("the network of the bench does not get on")
        time.sleep(0.02)
    return answer


@contextmanager
def _network(directory: Path, geth: Path, signers: int, funded: bytes) -> Iterator[RpcChain]:
    """A network on this machine, a block a second; a connection to its first node."""
    network = GethNetwork(directory, geth, signers=signers, funded=(funded,))
    try:
        network.start()
        _until(lambda: network.height(0) > signers)
        yield network.chain(0)
    finally:
        network.close()
        shutil.rmtree(directory, ignore_errors=True)
