"""A whole platform in one thread, on a clock that is told the time: for benches of what happens behind ingest."""

from dataclasses import dataclass
from pathlib import Path

from eth_keys.datatypes import PrivateKey

from terang.bench.load import BenchDevice
from terang.kits_installed import load_kits
from terang.ledger.anchoring import Anchorer
from terang.ledger.chain import Receipt
from terang.ledger.committer import Committer
from terang.ledger.embedded import EmbeddedChain
from terang.ledger.genesis import Genesis
from terang.ledger.keyfile import load_or_create_key
from terang.ledger.signing_state import SigningState
from terang.log_writer import LogWriter
from terang.pipeline import Pipeline
from terang.store.log_reader import LogReader
from terang.store.writer import StoreWriter
from terang.values.clock import FakeClock
from terang.values.command import AdoptDevice, Ask, Done
from terang.values.errors import TerangError
from terang.values.signing import KeyPair

__all__ = ["StillHouse", "open_still_house"]


@dataclass(slots=True)
class StillHouse:
    """The platform's parts."""

    clock: FakeClock
    writer: StoreWriter
    pipeline: Pipeline
    log: LogReader
    chain: EmbeddedChain
    devices: list[BenchDevice]
    key: KeyPair
    contract: bytes
    site: bytes
    committer: PrivateKey

    def close(self) -> None:
        """Let go of the files."""
        self.chain.close()
        self.log.close()
        self.writer.close()

    def included(self, raw: bytes) -> Receipt:
        """What became of a transaction that is sealed now."""
        transaction = self.chain.submit(raw)
        self.clock.advance(1000)
        self.chain.seal()
        receipt = self.chain.receipt(transaction)
        if receipt is None or not receipt.succeeded:
            raise TerangError("the bench's chain did not take a transaction")
        return receipt


def open_still_house(directory: Path, *, rooms: int) -> tuple[StillHouse, Anchorer]:
    """A platform with so many adopted devices, its chain with the contract and the registered site; its committer."""
    clock = FakeClock()
    writer = StoreWriter(directory / "store.sqlite")
    key = KeyPair.generate()
    pipeline = Pipeline(writer=writer, kits=load_kits(), key=key, clock=clock)
    devices = []
    for number in range(rooms):
        pair = KeyPair.generate()
        command = AdoptDevice(public_key=pair.public.hex(), name=f"room {number}")
        if not isinstance(pipeline.execute(Ask(by="cli", command=command)), Done):
            raise TerangError("the bench could not adopt a device")
        devices.append(BenchDevice(pair, "", number.to_bytes(8, "big")))
    signer = load_or_create_key(directory / "signer.key")
    secret = load_or_create_key(directory / "committer.key")
    committer = Committer(secret)
    genesis = Genesis.for_site(
        chain_id=1337,
        timestamp_s=clock.now_ms() // 1000,
        signer=signer.public_key.to_canonical_address(),
        committer=committer.address,
    )
    chain = EmbeddedChain.open(directory / "chain", clock=clock, genesis=genesis, signer_key=signer)
    log = LogReader(directory / "store.sqlite")
    site = bytes(31) + b"\x01"
    house = StillHouse(clock, writer, pipeline, log, chain, devices, key, b"", site, secret)
    contract = house.included(committer.deploy(chain_id=chain.chain_id, nonce=0, base_fee=chain.base_fee))
    if contract.contract_address is None:
        raise TerangError("the bench could not deploy the contract")
    house.contract = contract.contract_address
    house.included(
        committer.register(
            site, contract=contract.contract_address, chain_id=chain.chain_id, nonce=1, base_fee=chain.base_fee
        )
    )
    signing = SigningState(directory / "signing-state", key, "terang/bench")
    anchorer = Anchorer(
        source=log,
        target=LogWriter(pipeline),
        chain=chain,
        committer=committer,
        contract=contract.contract_address,
        site=site,
        signing=signing,
        clock=clock,
    )
    named = {"site_id": site, "platform_key": key.public, "checkpoint_key": key.public, "contract": house.contract}
    with writer.transaction():
        writer.put_site({name: value.hex() for name, value in named.items()})
    return house, anchorer
