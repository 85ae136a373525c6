"""The single writer: exactly once, whatever comes, whatever fails, and whenever it is restarted."""

import random
import sqlite3
from dataclasses import fields

import pytest

from terang.pipeline import Incoming, Pipeline
from terang.store.reader import StoreReader
from terang.store.schema import metadata
from terang.testing import FakeDevice, MiniPlatform, moment
from terang.values import envelope
from terang.values.command import RevokeDevice
from terang.values.envelope import FIRST_PREVIOUS, Envelope
from terang.values.errors import StoreError
from terang.values.reading import Event, Lost, Readings, TimeFix
from terang.values.record import leaf_hash
from terang.world import World

NOW = 1_763_600_000_000
HOUR = 3_600_000


@pytest.fixture
def device():
    return FakeDevice(1)


@pytest.fixture
def platform(tmp_path, device):
    made = MiniPlatform(tmp_path)
    made.adopt(device)
    yield made
    made.close()


def dump(platform):
    """Every table as rows."""
    return {
        table.name: platform.writer.rows(f'SELECT * FROM "{table.name}" ORDER BY 1, 2')
        for table in metadata.sorted_tables
    }


def known(world):
    """All that a world knows, in a form that compares; epochs by what they answer."""
    return {
        "next": (world.next_position, world.anchored_size),
        "devices": {key: (d.id, d.public_key, d.name, d.revoked) for key, d in world.devices.items()},
        "meters": {
            key: {f.name: getattr(m, f.name) for f in fields(m) if f.name != "device"}
            for key, m in world.meters.items()
        },
        "epochs": {
            key: (
                e.row(),
                e.last_sequence,
                e.last_leaf,
                e.order.first_gap(),
                [e.order.is_new(s) for s in range(40)],
                sorted(e.order._unanchored.items()),
            )
            for key, e in world.epochs.items()
        },
    }


def fresh(platform):
    """The world as a restart would know it, every epoch looked up."""
    world = World.load(platform.writer)
    for device in world.devices.values():
        for (epoch,) in platform.writer.rows("SELECT epoch FROM epoch WHERE device_id=?", (device.id,)):
            world.epoch(device, epoch)
    return world


def assert_as_after_a_restart(platform):
    """Memory says exactly what the store says, whenever something begins."""
    platform.pipeline._begin()
    running, restarted = known(platform.pipeline.world), known(fresh(platform))
    for key in list(restarted["epochs"]):
        if key not in running["epochs"]:
            running["epochs"][key] = restarted["epochs"][key]  # not looked up since the last restart
    assert running == restarted


def check_log(platform):
    """Positions without a gap, every leaf the hash of its bytes, every accepted reading a signed envelope's."""
    rows = [tuple(record) for record in platform.log.records(0, 1 << 60)]
    assert [row[0] for row in rows] == list(range(len(rows)))
    assert all(leaf_hash(kind, data) == leaf for _, kind, leaf, data in rows)
    assert count(platform, "held") == len(rows)
    assert len({row[2] for row in rows}) == len(rows)
    for position, raw in platform.writer.rows(
        "SELECT position, body FROM reading UNION ALL SELECT position, body FROM undated"
    ):
        payload, _ = envelope.split(rows[position][3])
        assert payload.endswith(raw)


def count(platform, table):
    """Rows of a table."""
    return platform.writer.rows(f'SELECT count(*) FROM "{table}"')[0][0]


def test_an_envelope_is_stored_once(platform, device):
    """Sent again in the same group and in later ones it is a duplicate: receipted again, stored once."""
    data = device.readings([moment(0), moment(10)], utc_ms=NOW)
    first = platform.take(data, data)
    assert (first.accepted, first.duplicate, first.refused) == (1, 1, 0)
    again = platform.take(data)
    assert (again.accepted, again.duplicate, again.refused) == (0, 1, 0)
    assert again.epochs == {(device.id, device.epoch): (1, 0, None)}
    assert count(platform, "reading") == 1
    assert platform.writer.rows("SELECT readings FROM latest") == [(2,)]
    check_log(platform)


def test_a_fork_is_kept_and_raises_an_alarm(platform, device):
    """Another envelope under the same number: both in the log, the first one counts, the owner is told once."""
    data = device.readings([moment(0)], utc_ms=NOW)
    head = (1, device.id, device.epoch, 0, FIRST_PREVIOUS, 1, 0, 0, NOW, 1)
    forks = [
        device.sign(Envelope(*head, Readings((0,), dict.fromkeys(range(1, 7), (energy,))))) for energy in (7, 8, 9)
    ]
    platform.take(data)
    outcome = platform.take(forks[0], forks[1])
    assert outcome.refused == 1
    assert platform.writer.rows("SELECT sequence, variant, state FROM record WHERE kind=1 ORDER BY position") == [
        (0, 0, 0),
        (0, 1, 2),
    ]
    assert platform.take(forks[0]).duplicate == 1
    assert [row[0] for row in platform.writer.rows("SELECT topic FROM notice")] == ["forked"]
    assert count(platform, "reading") == 1
    assert_as_after_a_restart(platform)
    platform.anchor()
    assert_as_after_a_restart(platform)


def test_a_gap_holds_the_receipt_back(platform, device):
    """What is ahead is stored; the receipt says so only once the gap is filled or declared lost."""
    made = [device.readings([moment(10 * i)], utc_ms=NOW + 1000 * i) for i in range(6)]
    key = (device.id, device.epoch)
    assert platform.take(made[0], made[3]).epochs[key] == (1, 0, (1, 3))
    assert platform.take(made[5]).epochs[key] == (1, 0, (1, 3))
    lost = device.lost(1, 3, reads=2)
    assert platform.take(lost).epochs[key] == (4, 0, (4, 5))
    assert platform.take(made[4]).epochs[key] == (7, 0, None)
    assert platform.take(made[1]).accepted == 1  # it came after all
    assert count(platform, "reading") == 5
    assert_as_after_a_restart(platform)


def test_a_lost_range_of_four_billion(platform, device):
    """2**32 envelopes declared lost are passed at once, anchored with their record, and one that comes later is
    stored.
    """
    late = device.readings([moment(0)], utc_ms=NOW)
    device.sequence = 1 << 32
    lost = device.lost(1, 1 << 32)
    first = device.sign(Envelope(4, device.id, device.epoch, 0, FIRST_PREVIOUS, 1, 0, 0, None, 0, Event("start", 0)))
    key = (device.id, device.epoch)
    assert platform.take(first, lost).epochs[key].stored_end == (1 << 32) + 1
    assert_as_after_a_restart(platform)
    platform.anchor()
    assert platform.take().epochs == {}
    assert platform.pipeline.world.epochs[key].order.anchored_end == (1 << 32) + 1
    assert platform.take(late).refused == 1  # sequence 0 again, with other bytes
    assert_as_after_a_restart(platform)


def test_a_lost_record_that_waits_for_its_block_over_a_restart(platform, device, tmp_path):
    """A restart between a lost record's commit and its anchoring does not hold back what comes after it."""
    device.sequence = 3
    platform.take(device.lost(0, 3), device.event("start"))
    again = Pipeline(writer=platform.writer, kits=platform.kits, key=platform.key, clock=platform.clock)
    platform.pipeline = again
    platform.anchor()
    assert again.world.epoch(again.world.devices[device.id], device.epoch).order.anchored_end == 5
    assert_as_after_a_restart(platform)


def test_strangers_use_up_nothing(platform, device):
    """Forged envelopes under a device's name leave no trace in log and order; its own all arrive."""
    stranger = FakeDevice(666)
    own = [device.readings([moment(10 * i)], utc_ms=NOW + 1000 * i) for i in range(20)]
    forged = []
    for i in range(20):
        payload = envelope.encode_payload(
            Envelope(4, device.id, device.epoch, i, bytes(32), 1, 0, 0, None, 0, Event("start", i))
        )
        forged.append(envelope.seal(payload, stranger.key.sign(envelope.signing_input(payload))))
    forged.append(stranger.event("start"))
    outcome = platform.take(
        *[data for pair in zip(forged, own, strict=False) for data in pair], forged[-1], b"", b"\0" * 9
    )
    assert (outcome.accepted, outcome.duplicate, outcome.refused) == (20, 0, 23)
    assert count(platform, "reading") == 20
    assert StoreReader(platform.writer.path, platform.clock).refused_counts() == {
        "bad_signature": 20,
        "unknown_device": 1,
        "broken": 2,
    }
    check_log(platform)
    assert_as_after_a_restart(platform)


def test_the_revoked_are_refused_from_then_on(platform, device):
    """After a revocation nothing of the device is taken, not even what was opened before it."""
    first, second = device.event("start"), device.event("stop")
    platform.take(first)
    incoming = [Incoming(second, "t", NOW)]
    opened = platform.pipeline.opening.open([message.data for message in incoming])
    platform.order(RevokeDevice(device=device.id.hex(), reason="stolen"))
    outcome = platform.pipeline.accept(incoming, opened)
    assert (outcome.accepted, outcome.refused) == (0, 1)
    assert platform.take(second).refused == 1
    assert_as_after_a_restart(platform)


@pytest.mark.parametrize(
    "body",
    [
        (1, Readings((0,), {code: (300_000_000 if code == 2 else 5,) for code in range(1, 7)}), NOW),
        (1, Readings((0,), dict.fromkeys(range(1, 7), (5,))), 0),
        (1, Readings((0,), dict.fromkeys(range(1, 7), (5,))), -(1 << 63) - 5),
        (1, Readings((0,), dict.fromkeys(range(1, 7), (5,))), (1 << 64) - 1),
        (1, Readings((0,), {1: (5,)}), NOW),
        (2, Lost(bytes(8), (1 << 63) + 1, (1 << 63) + 2, 0, 0, 0, "x"), NOW),
        (2, Lost(bytes(8), 0, 1, 0, (1 << 64) - 1, (1 << 64) - 1, "x"), NOW),
        (3, TimeFix(bytes(8), (1 << 64) - 1, NOW, 1), NOW),
    ],
)
def test_a_signed_but_impossible_statement_blocks_nothing(platform, device, body):
    """It uses up its sequence with the reason, becomes no energy, is receipted, and what follows arrives and
    anchors.
    """
    kind, said, utc_ms = body
    odd = device.say(kind, said, utc_ms=utc_ms)
    after = device.readings([moment(5)], utc_ms=NOW)
    outcome = platform.take(odd, after)
    assert outcome.epochs[device.id, device.epoch].stored_end == 2
    assert platform.writer.rows("SELECT state, reason IS NOT NULL FROM record WHERE kind=1 ORDER BY position") == [
        (1, 1),
        (0, 0),
    ]
    assert platform.writer.rows("SELECT readings FROM latest") == [(1,)]
    assert platform.anchor() == 0
    assert_as_after_a_restart(platform)


def test_undated_readings_are_dated_by_a_later_time_record(platform, device):
    """Stored and counted, undated; a signed time record puts them at their time, those that come after it too."""
    early = [device.readings([moment(10 * i)], utc_ms=None, uptime_ms=1000 * i) for i in range(3)]
    platform.take(*early)
    assert count(platform, "undated") == 3
    assert count(platform, "reading") == 0
    assert_as_after_a_restart(platform)
    platform.take(device.time(5000, NOW))
    assert count(platform, "undated") == 0
    assert platform.writer.rows("SELECT first_ms FROM reading ORDER BY 1") == [
        (NOW - 5000,),
        (NOW - 4000,),
        (NOW - 3000,),
    ]
    platform.take(device.readings([moment(90)], utc_ms=None, uptime_ms=6000))
    assert platform.writer.rows("SELECT max(first_ms) FROM reading") == [(NOW + 1000,)]
    assert_as_after_a_restart(platform)


def test_a_time_record_for_an_epoch_of_which_nothing_waits_is_remembered(platform, device):
    """The tie of an old epoch's uptime to UTC holds over a restart, though no reading waited for it."""
    before = device.epoch
    platform.take(device.event("start"))
    device.restart(2)
    platform.take(device.time(5000, NOW, epoch=before))
    assert_as_after_a_restart(platform)
    device.epoch, device.sequence = before, 1
    platform.take(device.readings([moment(1)], utc_ms=None, uptime_ms=6000))
    assert platform.writer.rows("SELECT first_ms FROM reading") == [(NOW + 1000,)]


def test_a_time_record_cannot_date_into_the_future(platform, device):
    """Readings that it would put a day ahead of the platform's clock, or before 2024, stay undated until
    another one.
    """
    platform.take(
        device.readings([moment(10)], utc_ms=None, uptime_ms=8 * 86_400_000),
        device.readings([moment(20)], utc_ms=None, uptime_ms=1000),
        device.time(1000, NOW),
    )
    assert platform.writer.rows("SELECT first_ms FROM reading") == [(NOW,)]
    assert count(platform, "undated") == 1
    platform.take(device.time(8 * 86_400_000, NOW + 5000))
    assert count(platform, "undated") == 0
    assert_as_after_a_restart(platform)


class Failing:
    """A connection on which one kind of statement fails, as on a full disk."""

    def __init__(self, real, word):
        self._real = real
        self.word = word
        self.failed = 0

    def execute(self, sql, *values):
        if self.word and sql.startswith(self.word):
            self.failed += 1
            raise sqlite3.OperationalError("database or disk is full")
        return self._real.execute(sql, *values)

    def executemany(self, sql, *values):
        if self.word and sql.startswith(self.word):
            self.failed += 1
            raise sqlite3.OperationalError("database or disk is full")
        return self._real.executemany(sql, *values)

    def __getattr__(self, name):
        return getattr(self._real, name)


@pytest.mark.parametrize(
    "word",
    ["COMMIT", "BEGIN", "INSERT INTO record", "INSERT INTO reading", "INSERT INTO hour", "INSERT OR REPLACE", "UPDATE"],
)
def test_a_commit_that_fails_leaves_nothing_and_can_be_repeated(platform, device, word):
    """Memory and store stay what they were, wherever it failed; the same group again is stored exactly once."""
    platform.take(device.readings([moment(0)], utc_ms=NOW))
    group = [device.readings([moment(10 * i)], utc_ms=NOW + 1000 * i) for i in range(1, 5)]
    group += [device.lost(40, 50), device.readings([moment(99)], utc_ms=None), device.time(10, NOW), b"junk"]
    before = dump(platform)
    platform.writer._db = Failing(platform.writer._db, word)
    for _ in range(2):
        with pytest.raises(StoreError):
            platform.take(*group)
        assert dump(platform) == before
        assert_as_after_a_restart(platform)
    assert platform.writer._db.failed
    platform.writer._db.word = None
    outcome = platform.take(*group)
    assert (outcome.accepted, outcome.duplicate, outcome.refused) == (7, 0, 1)
    assert platform.take(*group[:-1]).duplicate == 7
    assert count(platform, "reading") == 6
    assert_as_after_a_restart(platform)
    check_log(platform)


def test_a_store_that_cannot_even_be_read_is_asked_again(platform, device):
    """When commit and then reading fail, nothing is believed until the store answers; then the group is taken once."""
    group = [device.readings([moment(10 * i)], utc_ms=NOW + 1000 * i) for i in range(4)]
    real = platform.writer._db
    platform.writer._db = Failing(real, ("COMMIT", "SELECT"))
    for _ in range(3):
        with pytest.raises(StoreError):
            platform.take(*group)
    platform.writer._db = real
    assert platform.take(*group).accepted == 4
    assert_as_after_a_restart(platform)
    check_log(platform)


def test_an_anchor_that_cannot_be_committed_changes_nothing(platform, device):
    """The writing back of a block fails and is repeated; the receipts rise only then."""
    platform.take(device.event("start"))
    real = platform.writer._db
    anchorer = platform.anchorer()
    anchorer.cut()
    waiting = anchorer.send()
    assert len(waiting) == 1
    platform.writer._db = Failing(real, "COMMIT")
    with pytest.raises(StoreError):
        anchorer.settle()
    assert_as_after_a_restart(platform)
    platform.writer._db = real
    assert anchorer.settle() == 0
    assert platform.pipeline.world.anchored_size == 2
    assert_as_after_a_restart(platform)


def test_a_device_whose_adoption_failed_is_a_stranger(platform):
    """Its envelope was opened while memory still knew of the adoption; the commit does not."""
    other = FakeDevice(2)
    real = platform.writer._db
    platform.writer._db = Failing(real, "COMMIT")
    with pytest.raises(StoreError):
        platform.adopt(other)
    incoming = [Incoming(other.event("start"), "t", NOW)]
    opened = platform.pipeline.opening.open([message.data for message in incoming])
    platform.writer._db = real
    outcome = platform.pipeline.accept(incoming, opened)
    assert (outcome.accepted, outcome.refused) == (0, 1)
    assert_as_after_a_restart(platform)


class History:
    """A random life of two devices, told to a platform in groups."""

    def __init__(self, platform, seed):
        self.platform = platform
        self.random = random.Random(seed)
        self.devices = [FakeDevice(1), FakeDevice(2)]
        self.time = NOW
        self.energy = 0
        self.kept = []
        self.epoch = 2

    def one(self):
        """An envelope, mostly of an honest device."""
        r = self.random
        device = r.choice(self.devices)
        what = r.random()
        self.time += r.choice((1000, 1000, 60_000, HOUR // 2))
        self.energy += r.choice((0, 5, 500, 5000, -2000))
        self.energy = max(0, self.energy)
        meter = r.choice((1, 1, 2))
        values = [moment(self.energy + i, r.choice((0, 5_000, 400_000, -300))) for i in range(r.choice((1, 1, 3, 9)))]
        uptime = self.time - NOW + 5000
        if what < 0.45:
            utc = self.time - r.choice((0, 0, 0, 2 * HOUR, 500))
            return device.readings(values, utc_ms=utc, every_ms=r.choice((200, 1000)), meter=meter, uptime_ms=uptime)
        if what < 0.6:
            return device.readings(values, utc_ms=None, meter=meter, uptime_ms=uptime)
        if what < 0.68:
            first = max(0, device.sequence - r.randrange(5))
            return device.lost(first, first + r.choice((0, 1, 4, 1 << 32)), reads=3)
        if what < 0.74:
            return device.time(uptime, self.time)
        if what < 0.8:
            return device.event(r.choice(("start", "bus_dead")), 3)
        if what < 0.86:
            device.sequence += r.randrange(3)
            return device.readings([(999_999, *values[0][1:])], utc_ms=self.time, meter=meter)
        if what < 0.9:
            device.sequence = max(0, device.sequence - 1)
            return device.event("start", r.randrange(100))
        if what < 0.94:
            self.epoch += 1
            device.restart(self.epoch)
            return device.event("start")
        return r.choice((b"", b"\xd2\x84", FakeDevice(9).event("start"), bytes(20_000)))

    def step(self):
        """One group, shuffled and with repetitions, or an anchoring."""
        r = self.random
        self.platform.clock.set_now_ms(self.time + 1000)
        if r.random() < 0.15:
            self.platform.anchor()
            return
        made = [self.one() for _ in range(r.randrange(1, 8))]
        self.kept += made
        made += r.sample(self.kept, min(len(self.kept), r.randrange(3)))
        held = [data for data in made if r.random() < 0.1]
        group = [data for data in made if data not in held]
        r.shuffle(group)
        self.take(group)
        self.kept += held

    def take(self, group):
        """Some groups fail at the commit first."""
        before = known(self.platform.pipeline.world)["next"]
        if self.random.random() < 0.2:
            real = self.platform.writer._db
            self.platform.writer._db = Failing(real, "COMMIT")
            with pytest.raises(StoreError):
                self.platform.take_all(group)
            self.platform.writer._db = real
            self.platform.pipeline._begin()
            assert known(self.platform.pipeline.world)["next"] == before
        outcome = self.platform.take_all(group)
        for (key_id, epoch), state in outcome.epochs.items():
            rows = self.platform.writer.rows(
                "SELECT e.stored_end, e.anchored_end FROM epoch e JOIN device d ON d.id = e.device_id"
                " WHERE d.key_id=? AND e.epoch=?",
                (key_id, epoch),
            )
            assert rows == [state[:2]]  # never more than is committed


def receipts_hold(platform):
    """Below stored_end everything is in the log or declared lost there; below anchored_end also on the chain."""
    anchored = platform.log.anchored_size()
    for epoch_id, device_id, epoch, stored_end, anchored_end in platform.writer.rows(
        "SELECT id, device_id, epoch, stored_end, anchored_end FROM epoch"
    ):
        assert anchored_end <= stored_end
        lost = platform.writer.rows(
            "SELECT l.first_sequence, l.end_sequence, l.position FROM lost l JOIN record r ON r.position = l.position"
            " JOIN epoch e ON e.id = r.epoch_id WHERE e.device_id=? AND l.epoch=?",
            (device_id, epoch),
        )
        taken = dict(
            platform.writer.rows("SELECT sequence, position FROM record WHERE epoch_id=? AND variant=0", (epoch_id,))
        )
        for sequence in range(min(stored_end, 200)):
            places = [p for first, end, p in lost if first <= sequence < end]
            places += [taken[sequence]] if sequence in taken else []
            assert places
            if sequence < anchored_end:
                assert min(places) < anchored


@pytest.mark.timeout(1200)
def test_any_history_leaves_memory_and_store_one(tmp_path_factory, soak):
    """Random lives with gaps, forks, losses, strangers, restarts, failing commits: at every moment a restarted world
    is the running one, the log has no hole, and receipts claim only what is committed."""
    for seed in range(soak(300, 15)):
        platform = MiniPlatform(tmp_path_factory.mktemp("history"))
        history = History(platform, seed)
        platform.adopt(*history.devices)
        for step in range(25):
            history.step()
            assert_as_after_a_restart(platform)
            if step % 8 == 7 and history.random.random() < 0.5:
                platform.pipeline = Pipeline(
                    writer=platform.writer, kits=platform.kits, key=platform.key, clock=platform.clock
                )
        receipts_hold(platform)
        check_log(platform)
        platform.close()


@pytest.mark.timeout(1200)
def test_mutated_envelopes_do_not_crash_the_pipeline(platform, device, soak):
    """Signed envelopes with changed bytes, by groups through all steps: never an exception, never a reading that was
    not signed, and the device's own envelopes all arrive after them."""
    generator = random.Random(11)
    n = soak(100_000, 5_000)
    own = [device.readings([moment(10 * i)] * 2, utc_ms=NOW + 10_000 * i) for i in range(n // 50)]
    own[5] = own[5]
    kinds = [*own[:20], device.lost(900_000, 900_004), device.time(5, NOW), device.event("bus_dead", 4)]
    signed = {leaf_hash(1, data) for data in own}
    sent = 0
    for begin in range(0, n, 250):
        group = []
        for _ in range(250):
            data = bytearray(generator.choice(kinds))
            for _ in range(generator.randrange(1, 4)):
                at = generator.randrange(len(data))
                data[at : at + generator.randrange(3)] = generator.randbytes(generator.randrange(3))
                data = data or bytearray(1)
            if bytes(data) not in kinds:
                group.append(bytes(data))
        group += own[sent : sent + 5]
        sent += 5
        generator.shuffle(group)
        platform.clock.set_now_ms(NOW + 10_000 * (begin // 50 + 10))
        platform.take_all(group)
    stored = {row[0] for row in platform.writer.rows("SELECT leaf FROM record WHERE kind=1")}
    assert stored == signed
    assert count(platform, "reading") == len(own)
    assert_as_after_a_restart(platform)
    check_log(platform)


@pytest.mark.timeout(1200)
def test_odd_but_signed_envelopes_go_all_the_way(tmp_path, device, soak):
    """Payloads with changed bytes that the device did sign: never an exception, each that is not another form of an
    envelope uses up its sequence, all that is kept comes onto the chain byte for byte, and the audit agrees.
    """
    generator = random.Random(13)
    with MiniPlatform(tmp_path) as platform:
        platform.adopt(device)
        platform.clock.set_now_ms(NOW + HOUR)
        n, kept = soak(6_000, 1_500), 0
        makers = [
            lambda: device.readings([moment(5)] * 3, utc_ms=NOW, uptime_ms=70_000),
            lambda: device.readings([moment(5, -300)], utc_ms=NOW - 5),
            lambda: device.readings([moment(5)], utc_ms=None, uptime_ms=30),
            lambda: device.lost(3, 9, reads=2),
            lambda: device.time(80_000, NOW),
            lambda: device.event("bus_dead", -4),
        ]
        for _ in range(0, n, 100):
            group = []
            for _ in range(100):
                payload = bytearray(envelope.split(generator.choice(makers)())[0])
                for _ in range(generator.choice((1, 1, 2, 3))):
                    at = generator.randrange(20, len(payload))  # the device's name stays, or it is a stranger's
                    if generator.random() < 0.8:
                        payload[at] = generator.choice((0, 1, 24, 27, 255, generator.randrange(256)))
                    else:
                        del payload[at : at + generator.randrange(9)]
                signed = bytes(payload)
                group.append(envelope.seal(signed, device.key.sign(envelope.signing_input(signed))))
            kept += platform.take_all(group).accepted
        assert kept > n // 20
        assert_as_after_a_restart(platform)
        check_log(platform)
        assert platform.anchor() == 0
        assert platform.audit().kept == []
        assert sum(row[0] for row in platform.writer.rows("SELECT count(*) FROM record WHERE state=1")) > 10
