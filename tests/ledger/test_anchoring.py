"""Bringing the log onto a chain that fails in every way: no batch lost, none twice, at whatever step it is killed."""

import random
import shutil

import pytest

from terang.ledger import batch
from terang.ledger.contract import decode_anchor_call
from terang.log_writer import LogWriter
from terang.testing import FakeDevice, MemoryChain, MiniPlatform
from terang.values.errors import (
    BatchUnfaithful,
    ChainError,
    ChainRefused,
    ChainUnreachable,
    LedgerError,
    LogForked,
    StoreBehind,
    StoreError,
)

NOW = 1_763_600_000_000


class Killed(BaseException):
    """The process is gone."""


class Fragile:
    """Something of which the n-th call kills, before or after it did what it was asked."""

    def __init__(self, inner, plan):
        self._inner = inner
        self._plan = plan

    def __getattr__(self, name):
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments, **named):
            self._plan.calls += 1
            if self._plan.calls == self._plan.at and not self._plan.after:
                raise Killed(name)
            result = value(*arguments, **named)
            if self._plan.calls == self._plan.at:
                raise Killed(name)
            return result

        return call


class Plan:
    """When to kill."""

    def __init__(self, at=0, *, after=False):
        self.at = at
        self.after = after
        self.calls = 0


@pytest.fixture
def device():
    return FakeDevice(1)


@pytest.fixture
def make(tmp_path, device):
    opened = []

    def platform(name="a", **given):
        made = MiniPlatform(tmp_path / name, **given)
        if not made.pipeline.world.devices:
            made.adopt(device)
        opened.append(made)
        return made

    (tmp_path / "a").mkdir()
    yield platform
    for made in opened:
        made.close()


def fill(platform, device, n):
    """n more records."""
    platform.take_all([device.event("start", i) for i in range(n)])


def turn(platform, plan=None, record_bytes=100):
    """One turn of the ledger's process, whose chain and store may be killed; `record_bytes` is its first guess."""
    anchorer = platform.anchorer()
    anchorer._record_bytes = record_bytes
    if plan is not None:
        anchorer._chain = Fragile(platform.chain, plan)
        anchorer._target = Fragile(LogWriter(platform.pipeline), plan)
    anchorer.check_start()
    anchorer.cut()
    waiting = anchorer.send()
    platform.chain.seal()
    anchorer.settle()
    return waiting


def check_chain(platform):
    """Every record stands on the chain exactly once, in order, and the store knows where."""
    chain = platform.chain
    end = 0
    for number in range(chain.block("latest").number + 1):
        block = chain.block(number)
        for tx_hash in block.tx_hashes:
            receipt = chain.receipt(tx_hash)
            if not receipt.succeeded:
                continue
            call = decode_anchor_call(chain.transaction(tx_hash))
            assert call.old_size == end
            items = batch.decode(call.data)
            assert len(items) == call.new_size - call.old_size
            assert [item.data for item in items] == [r.data for r in platform.log.records(call.old_size, call.new_size)]
            end = call.new_size
            (stored,) = [b for b in platform.log.batches(call.old_size) if b.old_size == call.old_size]
            assert (stored.block_number, stored.block_hash, stored.transaction_index) == (
                number,
                block.hash,
                receipt.index,
            )
    assert end == platform.log.size() == platform.log.anchored_size() == platform.pipeline.world.anchored_size
    assert platform.log.unanchored() == []
    assert platform.audit().kept == []


def test_a_log_comes_onto_the_chain(make, device):
    """Cut, sent, sealed, written back; a second turn has nothing to do."""
    platform = make()
    fill(platform, device, 2500)
    turn(platform)
    check_chain(platform)
    blocks = platform.chain.block("latest").number
    assert turn(platform) == []
    assert platform.chain.block("latest").number == blocks


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_call_and_begun_again(tmp_path, device, after, soak):
    """Whichever call to chain or store is the last one, before or after its effect, and whether the chain then forgets
    what waits or not: the next process brings everything over exactly once."""
    done = 0
    for forget in (False, True):
        at = 0
        while True:
            at += 1
            name = f"{forget}{at}"
            (tmp_path / name).mkdir()
            own = FakeDevice(1)
            platform = MiniPlatform(tmp_path / name, chain=MemoryChain(at_once=False))
            platform.adopt(own)
            fill(platform, own, 70)
            turn(platform, record_bytes=4000)
            fill(platform, own, 230)  # several batches, a tile, and more records while it is down
            plan = Plan(at, after=after)
            killed = False
            try:
                turn(platform, plan, record_bytes=900)
            except Killed:
                killed = True
            if forget:
                platform.chain.forget()
            elif at % 2:
                platform.chain.seal()
            fill(platform, own, 3)
            for _ in range(3):
                turn(platform)
            check_chain(platform)
            platform.close()
            done += 1
            if not killed:
                break
    print(f"killed {done - 2} times")
    assert done > 15


@pytest.mark.timeout(1200)
def test_a_chain_that_misbehaves_at_random(tmp_path, soak):
    """Refuses, is unreachable before or after it took a transaction, forgets, seals late: in the end all is
    there once.
    """
    for seed in range(soak(100, 12)):
        r = random.Random(seed)
        own = FakeDevice(1)
        (tmp_path / str(seed)).mkdir()
        chain = Moody(r)
        platform = MiniPlatform(tmp_path / str(seed), chain=chain)
        platform.adopt(own)
        for _ in range(12):
            fill(platform, own, r.choice((0, 1, 40, 200)))
            anchorer = platform.anchorer()
            anchorer._record_bytes = r.choice((100, 1500))
            try:
                anchorer.check_start()
                anchorer.cut()
                anchorer.send()
                if r.random() < 0.6:
                    platform.chain.seal()
                anchorer.settle()
            except ChainError:
                pass
            if r.random() < 0.3:
                platform.chain.forget()
        chain.mood = 0
        for _ in range(4):
            turn(platform)
        check_chain(platform)
        platform.close()


class Moody(MemoryChain):
    """A chain of which every third answer is a refusal, silence, or silence after it did what it was asked."""

    def __init__(self, generator):
        super().__init__(at_once=False)
        self.generator = generator
        self.mood = 1 / 3

    def submit(self, raw):
        if self.generator.random() < self.mood:
            what = self.generator.randrange(3)
            if what == 0:
                raise ChainRefused("the fee is too low")
            if what == 2:
                super().submit(raw)
                if self.generator.random() < 0.5:
                    self.seal()
            raise ChainUnreachable("no answer")
        return super().submit(raw)

    def receipt(self, tx_hash):
        if self.generator.random() < self.mood / 3:
            raise ChainUnreachable("no answer")
        return super().receipt(tx_hash)

    def call(self, to, data):
        if self.generator.random() < self.mood / 3:
            raise ChainUnreachable("no answer")
        return super().call(to, data)


def test_a_batch_whose_transaction_failed_is_sent_under_another(make, device):
    """A block proves that the transaction reverted: the same batch goes under a new one, and comes onto the chain."""
    platform = make(chain=MemoryChain(at_once=False))
    fill(platform, device, 5)
    anchorer = platform.anchorer()
    anchorer.cut()
    (first,) = anchorer.send()
    execute, platform.chain._execute = platform.chain._execute, lambda calldata: None
    platform.chain.seal()
    platform.chain._execute = execute
    assert platform.chain.receipt(first).succeeded is False
    assert anchorer.settle() == 1
    (second,) = anchorer.send()
    assert second != first
    platform.chain.seal()
    assert anchorer.settle() == 0
    check_chain(platform)


def test_a_batch_that_came_by_an_unknown_transaction_is_found(make, device):
    """The store forgot under which transaction it sent a batch, and the chain has it: found by its event."""
    platform = make()
    fill(platform, device, 5)
    anchorer = platform.anchorer()
    anchorer.cut()
    anchorer.send()
    with platform.writer.transaction():
        platform.writer.execute("UPDATE batch SET transaction_hash=NULL")
        platform.writer.execute("UPDATE batch_held SET raw_transaction=NULL")
    for _ in range(3):
        fill(platform, device, 2)
        anchorer.cut()
        anchorer.send()
        anchorer.settle()
    check_chain(platform)


def test_after_a_crash_between_signing_and_keeping_less_may_be_cut(make, device):
    """Signed for hundreds of records, and killed before the batch was kept; a new process cuts fewer, and goes on."""
    platform = make()
    fill(platform, device, 1500)
    anchorer = platform.anchorer()
    anchorer._record_bytes = 10
    anchorer._target = Fragile(LogWriter(platform.pipeline), Plan(at=2))
    with pytest.raises(Killed):
        anchorer.cut()  # its first call keeps the tiles, its second would keep the batch
    assert platform.log.cut_size() == 0
    assert platform.anchorer()._signing.last.size > 500
    turn(platform, record_bytes=2000)
    check_chain(platform)


def grown_past_its_copy(make, device, tmp_path):
    """A platform in the directory a that has anchored as much again since it was copied to b."""
    platform = make()
    fill(platform, device, 10)
    turn(platform)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    fill(platform, device, 10)
    turn(platform)
    return platform


def test_a_store_from_a_backup_signs_nothing(make, device, tmp_path):
    """A store restored to fewer records than were signed: the start is refused, and so is any other root."""
    platform = grown_past_its_copy(make, device, tmp_path)
    chain = platform.chain
    shutil.copy(tmp_path / "a" / "signing-state", tmp_path / "b" / "signing-state")
    restored = make("b", chain=chain)
    with pytest.raises(StoreBehind, match="terang restore"):
        turn(restored)
    other = FakeDevice(5)
    restored.adopt(other)
    fill(restored, other, 30)
    with pytest.raises((LogForked, StoreBehind)):
        turn(restored)
    with pytest.raises(LogForked):
        restored.anchorer().cut()
    assert restored.log.cut_size() == 11


def test_a_whole_directory_from_a_backup_is_known_by_the_chain(make, device, tmp_path):
    """Store and signing state restored together: the chain has more, and the start is refused."""
    platform = grown_past_its_copy(make, device, tmp_path)
    restored = make("b", chain=platform.chain)
    with pytest.raises(StoreBehind):
        turn(restored)
    fill(restored, FakeDevice(1), 0)
    other = FakeDevice(5)
    restored.adopt(other)
    fill(restored, other, 60)
    with pytest.raises(StoreBehind):
        turn(restored)


def test_a_lost_signing_state_stops_the_ledger(make, device):
    """Without the file, or with an older one, nothing is signed: it is the memory of what was promised."""
    platform = make()
    fill(platform, device, 10)
    turn(platform)
    old = platform.signing_state_path.read_bytes()
    fill(platform, device, 10)
    turn(platform)
    new = platform.signing_state_path.read_bytes()
    fill(platform, device, 1)
    platform.signing_state_path.unlink()
    with pytest.raises(LedgerError, match="backup"):
        turn(platform)
    platform.signing_state_path.write_bytes(old)
    with pytest.raises(LedgerError, match="backup"):
        turn(platform)
    platform.signing_state_path.write_bytes(new)
    turn(platform)
    check_chain(platform)


def test_an_altered_record_is_not_anchored(make, device):
    """A byte or a row changed before it was cut: named, and nothing is signed or sent."""
    platform = make()
    fill(platform, device, 10)
    real = platform.writer.rows("SELECT data FROM held WHERE position=4")[0][0]
    for change in ("UPDATE held SET data=x'00' WHERE position=4", "DELETE FROM held WHERE position=4"):
        with platform.writer.transaction():
            platform.writer.execute(change)
        with pytest.raises(BatchUnfaithful, match="record 4 "):
            platform.anchorer().cut()
        with platform.writer.transaction():
            platform.writer.execute("INSERT OR REPLACE INTO held VALUES(4, ?)", (real,))
    with platform.writer.transaction():
        platform.writer.execute("UPDATE record SET position=99 WHERE position=4")
    with pytest.raises((StoreError, LedgerError)):
        platform.anchorer().cut()
    assert platform.anchorer()._signing.last.size == 0
    assert platform.log.cut_size() == 0


def test_large_envelopes_are_cut_into_what_a_transaction_holds(make, device):
    """Batches stay below 96 kB whatever the records weigh, and never above a thousand records."""
    platform = make()
    r = random.Random(1)
    big = []
    for i in range(60):
        values = [tuple(r.randrange(1000) for _ in range(6)) for _ in range(900)]
        big.append(device.readings(values, utc_ms=NOW - 10_000_000 + 1000 * i, every_ms=1))
    platform.take_all(big)
    fill(platform, device, 3000)
    turn(platform)
    check_chain(platform)
    rows = platform.writer.rows("SELECT bytes, new_size - old_size FROM batch")
    assert max(row[0] for row in rows) <= batch.MAX_BYTES
    assert max(row[1] for row in rows) <= batch.MAX_RECORDS
    assert len(rows) > 5


@pytest.mark.timeout(1200)
def test_a_log_over_65536_records(make, device, soak):
    """Anchored in parts over the places where tiles of both levels become complete."""
    platform = make()
    n = soak(140_000, 3_000)
    while platform.log.size() < n:
        fill(platform, device, 1500)
        turn(platform)
    check_chain(platform)
