"""Real geth: a network of three signers as a house uses it, and the embedded chain in its hands."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_keys.datatypes import PrivateKey

from terang.backup import open_backup, take_backup
from terang.bench.geth_network import GethNetwork
from terang.ledger.anchoring import Anchorer
from terang.ledger.committer import Committer
from terang.ledger.contract import contract_runtime
from terang.ledger.embedded import write_blocks
from terang.ledger.rpc_chain import RpcChain
from terang.ledger.signing_state import SigningState
from terang.log_writer import LogWriter
from terang.restore import anchors_of, restore_log
from terang.serve.pages import Pages
from terang.settings import Settings
from terang.testing import FakeDevice, MiniPlatform, moment
from terang.values.errors import ChainError

pytestmark = [pytest.mark.chain, pytest.mark.timeout(600)]
WAIT_S = 60
PHRASE = "a long pass-phrase"
Patience = Callable[[Callable[[], Any]], Any]
"""`until(ask)` asks again and again until the answer is true, and gives it."""


@pytest.fixture(scope="module")
def until() -> Patience:
    """Ask again until the answer is true; the network has a clock of its own, which no test can turn."""

    def wait(ask: Any) -> Any:
        end_s = time.monotonic() + WAIT_S
        while not (answer := ask()):
            assert time.monotonic() < end_s, "the network did not get there"
            time.sleep(0.1)
        return answer

    return wait


COMMITTER = Committer(PrivateKey(b"\x02" * 32))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, geth_path: Path, until: Patience) -> Iterator[GethNetwork]:
    """Three signers that seal together."""
    folder = tmp_path_factory.mktemp("geth") / "network"
    made = GethNetwork(folder, geth_path, funded=(COMMITTER.address,))
    try:
        made.start()
        until(lambda: min(made.height(number) for number in range(3)) >= 4)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def contract(network: GethNetwork, until: Patience) -> bytes:
    """The anchor contract on the network, put there through signer 0."""
    chain = network.chain(0)
    fields = {"chain_id": chain.chain_id, "base_fee": chain.base_fee}
    deployed = chain.submit(COMMITTER.deploy(nonce=chain.nonce(COMMITTER.address), **fields))
    receipt = until(lambda: chain.receipt(deployed))
    assert receipt.contract_address is not None
    address: bytes = receipt.contract_address
    return address


class Site:
    """A platform whose log is anchored on the network."""

    def __init__(self, folder: Path, number: int, chain: RpcChain, contract: bytes, until: Patience) -> None:
        self.platform, self.device = MiniPlatform(folder), FakeDevice(number)
        self.platform.adopt(self.device)
        self.site, self.contract, self.until = bytes([number]) * 32, contract, until
        fields = {"chain_id": chain.chain_id, "nonce": chain.nonce(COMMITTER.address), "base_fee": chain.base_fee}
        registered = chain.submit(COMMITTER.register(self.site, contract=contract, **fields))
        until(lambda: chain.receipt(registered))

    def live(self, count: int) -> None:
        """So many envelopes more."""
        self.platform.take_all(self.device.readings([moment(i)], utc_ms=1_763_600_000_000 + i) for i in range(count))

    def anchorer(self, chain: Any, confirmations: int = 1) -> Anchorer:
        """A committer's work through this node, begun anew."""
        state = SigningState(self.platform.signing_state_path, self.platform.checkpoint_key, "terang/test")
        return Anchorer(
            source=self.platform.log,
            target=LogWriter(self.platform.pipeline),
            chain=chain,
            committer=COMMITTER,
            contract=self.contract,
            site=self.site,
            signing=state,
            clock=self.platform.clock,
            confirmations=confirmations,
        )

    def anchor(self, chain: Any) -> None:
        """Everything onto the chain, confirmed."""
        anchorer = self.anchorer(chain)
        anchorer.check_start()
        anchorer.cut()
        anchorer.send()
        self.until(lambda: anchorer.settle() == 0)
        assert self.platform.log.anchored_size() == self.platform.log.size()


@pytest.fixture
def make_site(tmp_path: Path, network: GethNetwork, contract: bytes, until: Patience) -> Iterator[Any]:
    """`make_site(number)` is a platform of its own on the network."""
    made: list[Site] = []

    def make(number: int) -> Site:
        (tmp_path / str(number)).mkdir()
        made.append(Site(tmp_path / str(number), number, network.chain(0), contract, until))
        return made[-1]

    yield make
    for site in made:
        site.platform.close()


def test_a_batch_sent_to_one_node_stands_on_all(network, make_site, until):
    """Sent to signer 0, readable at 1 and 2 in the block of the same hash, byte for byte."""
    site = make_site(1)
    site.live(500)
    site.anchor(network.chain(0))
    batches = site.platform.log.batches()
    assert batches
    for number in (1, 2):
        chain = network.chain(number)
        for stored in batches:
            receipt = until(lambda chain=chain, stored=stored: chain.receipt(stored.transaction_hash))
            assert (receipt.block_hash, receipt.block_number) == (stored.block_hash, stored.block_number)
            assert stored.data in chain.transaction(stored.transaction_hash)


def test_the_contract_on_the_network_is_ours(network, contract):
    """What stands at its address is the shipped code."""
    assert network.chain(2).code(contract) == contract_runtime()


def test_a_node_that_goes_away_in_the_middle_of_a_submit(network, make_site, until):
    """Signer 2 is killed while batches go through it: the others go on, and what it took or not stands once."""
    site = make_site(2)
    for round_ in range(3):
        site.live(300)
        anchorer = site.anchorer(network.chain(2))
        anchorer.cut()
        anchorer.send()
        if round_ == 1:
            network.kill(2)
            before = network.height(0)
            until(lambda before=before: network.height(0) > before + 2)  # two of three go on sealing
            with pytest.raises(ChainError):
                site.anchorer(network.chain(2)).send()
            site.anchor(network.chain(1))
            network.start(2)
            until(lambda before=before: network.height(2) >= before)
    site.anchor(network.chain(2))
    assert_each_record_stands_once(site, network.chain(0))


def test_two_committers_of_one_site(network, make_site, until):
    """Two processes anchor the same store at once: the contract takes each batch from one of them only."""
    site = make_site(3)
    site.live(800)
    one, two = site.anchorer(network.chain(0)), site.anchorer(network.chain(1))
    one.cut()
    one.send()
    two.send()
    until(lambda: two.settle() == 0)
    one.send()
    until(lambda: one.settle() == 0)
    assert_each_record_stands_once(site, network.chain(2))


def test_an_anchor_counts_when_it_is_confirmed(network, make_site, until):
    """With three confirmations wanted it waits for three blocks on top of its own."""
    site = make_site(4)
    site.live(3)
    anchorer = site.anchorer(network.chain(0), confirmations=3)
    anchorer.cut()
    anchorer.send()
    until(lambda: anchorer.settle() == 0)
    (stored,) = site.platform.log.batches()
    assert network.height(0) >= stored.block_number + 3


def test_a_lost_house_comes_back_from_another_node(network, make_site, tmp_path, until):
    """Signer 0 is gone for good and the store with it: signer 2 gives every reading back, equal."""
    site = make_site(5)
    site.live(400)
    site.anchor(network.chain(0))
    rows = site.platform.writer.rows("SELECT * FROM reading ORDER BY position")
    backup = open_backup(take_backup(Settings(data=tmp_path / "5"), pages_of(site.platform), 5, PHRASE), PHRASE)
    until(lambda: network.height(2) >= site.platform.log.batches()[-1].block_number)
    network.kill(0)
    site.platform.writer.execute("DELETE FROM reading")
    (tmp_path / "again").mkdir()
    with MiniPlatform(tmp_path / "again") as made:
        result = restore_log(
            anchors_of(network.chain(2), site.contract, site.site),
            pipeline=made.pipeline,
            log=made.log,
            checkpoint_key=made.checkpoint_key,
            site=site.site,
            unsaid=backup.unsaid,
            progress=lambda _: None,
        )
        assert result.readings == 400
        assert made.writer.rows("SELECT * FROM reading ORDER BY position") == rows
    before = network.height(1)
    until(lambda: network.height(1) > before + 1)  # two of three go on
    network.start(0)
    until(lambda: network.height(0) >= before)


def pages_of(platform: MiniPlatform) -> Pages:
    """A platform's store as its pages read it."""
    return Pages(platform.log, platform.chain, platform.clock)


def assert_each_record_stands_once(site: Site, chain: RpcChain) -> None:
    """The site's events cover its log without gap or overlap."""
    from_chain = site.anchorer(chain).anchored_batches()
    ends = [(event.old_size, event.new_size) for event in from_chain]
    assert ends[0][0] == 0
    assert ends[-1][1] == site.platform.log.size()
    assert all(before[1] == after[0] for before, after in pairwise(ends))


def test_geth_takes_the_embedded_chain_and_seals_on_top(make_house, geth_path, tmp_path, until):
    """Blocks of the embedded engine, over an epoch, imported by geth, which then seals the next one with our key."""
    house = make_house(epoch=5).settle()
    while house.chain.head().number < 12:
        house.found(house.signed(house.next_call()))
    count = write_blocks(house.chain, tmp_path / "blocks.rlp")
    genesis, folder = house.directory / "genesis.json", tmp_path / "node"
    for words in (["init", genesis], ["--syncmode", "full", "--gcmode", "archive", "import", tmp_path / "blocks.rlp"]):
        done = subprocess.run([geth_path, "--datadir", folder, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    keystore = Account.encrypt(b"\x01" * 32, "secret", iterations=4096)
    (folder / "keystore").mkdir(exist_ok=True)
    (folder / "keystore" / "signer.json").write_text(json.dumps(keystore))
    (folder / "password").write_text("secret")
    network = GethNetwork(tmp_path / "ports", geth_path, signers=1)
    address = "0x" + keystore["address"].removeprefix("0x")
    flags = ["--networkid", str(house.chain.chain_id), "--syncmode", "full", "--gcmode", "archive", "--nodiscover"]
    flags += ["--port", str(30303 + network.offset), "--authrpc.port", str(8551 + network.offset), "--nat", "none"]
    flags += ["--http", "--http.port", str(8545 + network.offset), "--mine", "--miner.etherbase", address]
    flags += ["--unlock", address, "--password", str(folder / "password"), "--allow-insecure-unlock"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([geth_path, "--datadir", folder, *flags], stdout=log, stderr=log)
    try:
        chain = network.chain(0)
        until(lambda: network.height(0) > count)
        for number in range(1, count + 1):
            theirs, ours = chain.block(number), house.chain.block(number)
            assert theirs is not None
            assert theirs.hash == ours.hash
        grown = chain.block(count + 1)
        assert grown is not None
        assert grown.parent_hash == house.chain.head().hash
        assert grown.signer == house.chain.genesis.signers[0]
    finally:
        process.kill()
        process.wait()
        network.close()
