"""The life of one reading on the platform, step by step, as pipeline.py numbers it; then onto a real chain."""

import json
import re

import pytest
from eth_keys.datatypes import PrivateKey

from terang import pipeline as main_path
from terang.audit.run import run_audit
from terang.ingest.receipts import EpochState, Receipts
from terang.ledger.anchoring import Anchorer
from terang.ledger.committer import Committer
from terang.ledger.embedded import EmbeddedChain
from terang.ledger.genesis import Genesis
from terang.ledger.proof import check_on_chain, check_proof
from terang.ledger.signing_state import SigningState
from terang.log_writer import LogWriter
from terang.pipeline import Incoming
from terang.serve.pages import Pages
from terang.testing import FakeDevice, MiniPlatform, moment
from terang.values.clock import FakeClock
from terang.values.command import AddRoom, PlaceMeter
from terang.values.receipt import CONTEXT, EpochReceipt, Receipt, decode_down
from terang.values.record import ENVELOPE, leaf_hash
from terang.values.signing import open_statement

NOW = 1_763_600_000_000


@pytest.fixture
def device():
    return FakeDevice(1)


@pytest.fixture
def house(tmp_path, device):
    """A platform that knows the device, and its meter's room."""
    with MiniPlatform(tmp_path) as made:
        made.adopt(device)
        made.order(AddRoom(name="Kamar 1"))
        made.order(PlaceMeter(device=device.id.hex(), address=3, room="Kamar 1"))
        yield made


def test_the_steps_are_numbered_as_they_are_here():
    """pipeline.py opens with the steps one to six, and this file asserts each."""
    steps = re.findall(r"^(\d) (\w+) ", main_path.__doc__ or "", flags=re.MULTILINE)
    assert [word for _, word in steps] == ["open", "verify", "decode", "fold", "store", "answer"]
    assert [int(number) for number, _ in steps] == [1, 2, 3, 4, 5, 6]


def test_the_life_of_one_reading(house, device):
    """Two readings of one envelope, from bytes off the wire to a receipt that lets the device forget them."""
    data = device.readings([moment(1_000), moment(1_061)], utc_ms=NOW - 5_000, meter=3, uptime_ms=60_000)
    incoming = [Incoming(data, f"terang/v1/{device.id.hex()}/up", NOW)]

    # 1 open: the bytes are an envelope in its one form
    (opened,) = house.pipeline.opening.open([data])
    assert (opened.device, opened.epoch, opened.sequence, opened.meter) == (device.id, device.epoch, 0, 3)

    # 2 verify: the known key signed it; a stranger's under the same name is refused, and uses up nothing
    stranger = FakeDevice(2)
    stranger.id = device.id
    outcome = house.take(stranger.readings([moment(9)], utc_ms=NOW, meter=3))
    assert (outcome.accepted, outcome.refused, outcome.epochs) == (0, 1, {})

    # 3 decode: the kit's quantities as columns
    assert opened.fault is None
    assert opened.body.offsets_ms == (0, 1000)
    assert opened.body.columns[4] == (1_000, 1_061)

    # 4 fold and 5 store: readings, state, steps and the record's place, in one transaction
    outcome = house.pipeline.accept(incoming)
    assert (outcome.accepted, outcome.duplicate, outcome.refused) == (1, 0, 0)
    (record,) = [r for r in house.log.records(0, 99) if r.kind == ENVELOPE]
    assert (record.data, record.leaf) == (data, leaf_hash(ENVELOPE, data))
    following = device.readings([moment(1_122)], utc_ms=NOW - 3_000, meter=3, uptime_ms=62_000)
    house.take(following)
    pages = Pages(house.log, house.chain, house.clock)
    meter = pages.rooms()[0].meters[0].id
    latest = pages.latest((meter,))[meter]
    assert (latest.time_ms, latest.energy_mwh, latest.power_mw) == (NOW - 3_000, 1_122, 220_000)
    assert latest.total_confirmed_mwh == 61  # up to the reading before the last, which nothing has confirmed yet
    assert sum(hour.readings for hour in pages.hours(meter, 0, NOW + 1)) == 3
    assert [row.block_hash for row in pages.readings(meter, None, 10)] == [None] * 3

    # 6 answer: the device hears that it is stored, not that it is anchored
    assert outcome.epochs == {(device.id, device.epoch): EpochState(1, 0, None)}
    assert outcome.live[0].power_mw == 220_000
    receipts = Receipts(house.key)
    receipts.note(outcome.epochs, 0)
    ((to, message),) = receipts.due(0)
    said = decode_down(open_statement(house.key.public, message, CONTEXT))
    assert (to, said) == (device.id, Receipt(device.id, (EpochReceipt(device.epoch, 1, 0),)))

    # then the ledger: batch, checkpoint, block, and the receipt that lets the device forget
    told = {}
    anchor = house.pipeline.anchor

    def listen(anchored):
        found = anchor(anchored)
        told.update(found)
        return found

    house.pipeline.anchor = listen
    assert house.anchor() == 0
    assert told == {(device.id, device.epoch): EpochState(2, 2, None)}
    rows = pages.readings(meter, None, 10)
    block = house.chain.block("latest")
    assert {(row.block_number, row.block_hash) for row in rows} == {(block.number, block.hash.hex())}
    proof = pages.proof(record.position)
    assert proof is not None
    checked = check_proof(json.loads(json.dumps(proof.document)))
    assert checked.subject.data == data
    check_on_chain(checked, house.chain)
    assert house.audit().kept == []


def test_the_same_life_on_the_embedded_chain(tmp_path, device):
    """A real sealed chain takes the batches: readings carry its blocks, proofs hold against it, chain and store
    agree.
    """
    clock = FakeClock(NOW + 250)
    committer = Committer(PrivateKey(b"\x02" * 32))
    signer = PrivateKey(b"\x01" * 32)
    genesis = Genesis.for_site(
        chain_id=7,
        timestamp_s=NOW // 1000,
        signer=signer.public_key.to_canonical_address(),
        committer=committer.address,
    )
    chain = EmbeddedChain.open(tmp_path / "chain", clock=clock, genesis=genesis, signer_key=signer)
    with MiniPlatform(tmp_path, clock=clock) as house:
        try:
            house.adopt(device)

            def include(raw):
                transaction = chain.submit(raw)
                clock.advance(1000)
                chain.seal()
                return chain.receipt(transaction)

            def fields():
                return {"chain_id": 7, "nonce": chain.nonce(committer.address), "base_fee": chain.base_fee}

            contract = include(committer.deploy(**fields())).contract_address
            assert include(committer.register(house.site, contract=contract, **fields())).succeeded
            with house.writer.transaction():
                house.writer.put_site({"contract": contract.hex(), "ledger": json.dumps({"chain_id": "7"})})
            signing = SigningState(house.signing_state_path, house.checkpoint_key, "terang/test")
            anchorer = Anchorer(
                source=house.log,
                target=LogWriter(house.pipeline),
                chain=chain,
                committer=committer,
                contract=contract,
                site=house.site,
                signing=signing,
                clock=clock,
            )
            anchorer.check_start()
            for turn in range(3):
                house.take_all(
                    [
                        device.readings([moment(61 * (100 * turn + i))], utc_ms=NOW - 900_000 + 1000 * (100 * turn + i))
                        for i in range(100)
                    ]
                )
                assert anchorer.cut() > 0
                assert len(anchorer.send()) == 1
                clock.advance(1000)
                assert chain.seal() is not None
                assert anchorer.settle() == 0
            pages = Pages(house.log, chain, clock)
            found = pages.proof(150)
            assert found is not None
            assert (found.signed, found.logged, found.anchored, found.problem) == (True, True, True, None)
            block = chain.block(found.block_number or 0)
            assert block is not None
            assert found.block_hash == block.hash.hex()
            check_on_chain(check_proof(found.document), chain)
            assert house.log.anchored_size() == house.log.size() == anchorer.chain_head() == 301
            findings = run_audit(
                store=pages,
                log=house.log,
                chain=chain,
                verify_chain=lambda: chain.verify(clock.now_ms() // 1000),
                data_of=pages.data_of,
                kits=house.kits,
                signing_state=house.signing_state_path,
                progress=lambda *_: None,
            )
            assert findings.kept == []
        finally:
            chain.close()
