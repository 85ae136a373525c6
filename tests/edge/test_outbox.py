"""The outbox: what a kill, a power cut, a full disk and a broken file may take, and what they may not."""

import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terang.edge.outbox import Outbox, Promise
from terang.edge.time_source import CalendarSource, Uptime
from terang.values.clock import FakeClock
from terang.values.envelope import (
    EVENT,
    FIRST_PREVIOUS,
    LOST,
    READINGS,
    TIME,
    Envelope,
    decode_payload,
    envelope_hash,
)
from terang.values.errors import OutboxFull
from terang.values.receipt import EpochReceipt
from terang.values.signing import KeyPair, open_statement

KEY = KeyPair(bytes(range(32)))
METERS = (1, 2)
MEBIBYTE = 1 << 20


class Rig:
    """An outbox that can be killed: its files are copied as they are, and the copy goes on."""

    def __init__(self, folder: Path, *, meters: tuple[int, ...] = METERS, max_bytes: int = 64 * MEBIBYTE) -> None:
        self.clock = FakeClock()
        self.is_synced = True
        self.boot = "first boot"
        self._meters, self._max_bytes = meters, max_bytes
        self._folders = folder
        self._life = 0
        self.frame = 0
        folder.mkdir(exist_ok=True)
        self.open()

    @property
    def folder(self) -> Path:
        return self._folders / str(self._life)

    def open(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.uptime = Uptime(self.clock, CalendarSource(self.clock, lambda: self.is_synced))
        promise = Promise(quantities=(4, 3), meters=self._meters, risk_ms=11_000, risk_reads=12)
        self.box = Outbox(self.folder, KEY, self.uptime, promise, max_bytes=self._max_bytes, boot=self.boot)

    def kill(self, *, and_open: bool = True) -> None:
        old, box = self.folder, self.box
        self._life += 1
        shutil.copytree(old, self.folder)
        box.close()
        shutil.rmtree(old)
        if and_open:
            self.open()

    def read(self, meter: int = 1) -> int:
        """One good frame, recorded; its number."""
        self.frame += 1
        self.clock.advance(200)
        nth = self.box.intend(meter)
        self.box.record(meter, nth, self.uptime.moment(), (self.frame, -self.frame))
        return self.frame

    def envelopes(self) -> list[Envelope]:
        held = [item for epoch in list(self.box._epochs) for item in self.box.held(epoch, 0, 1 << 40, 1 << 30)]
        held.sort()
        return [decode_payload(open_statement(KEY.public, item.data)) for item in held]

    def frames(self) -> list[int]:
        return sorted(n for e in self.envelopes() if e.kind == READINGS for n in e.body.columns[4])

    def lost(self) -> list:
        return [e.body for e in self.envelopes() if e.kind == LOST]


def check_chain(rig: Rig) -> None:
    """Nothing deleted yet: the envelopes are one chain, each epoch's sequence runs from 0 without a gap."""
    previous = FIRST_PREVIOUS
    sequences: Counter[bytes] = Counter()
    held = [item for epoch in list(rig.box._epochs) for item in rig.box.held(epoch, 0, 1 << 40, 1 << 30)]
    for item in sorted(held):
        envelope = decode_payload(open_statement(KEY.public, item.data))
        assert envelope.previous == previous
        assert envelope.sequence == sequences[envelope.epoch]
        sequences[envelope.epoch] += 1
        previous = envelope_hash(item.data)


STEPS = st.lists(
    st.sampled_from(["read 1", "read 1", "read 2", "pass", "miss", "seal", "kill", "kill while asking", "stop"]),
    max_size=40,
)


@given(STEPS)
def test_every_frame_is_kept_once_or_declared(tmp_path_factory, steps):
    """Over any history of reads, seals, kills and stops: recorded frames are in exactly one envelope, and lost
    records count exactly the others."""
    rig = Rig(tmp_path_factory.mktemp("outbox"))
    recorded: list[int] = []
    expected: Counter = Counter()
    for step in [*steps, "stop"]:
        if step.startswith("read"):
            recorded.append(rig.read(int(step[-1])))
        elif step == "pass":
            rig.box.intend(1)
            rig.box.pass_over(1)
        elif step == "miss":
            rig.box.miss(2, rig.box.intend(2), "refused")
            expected["refused"] += 1
        elif step == "seal":
            rig.box.seal_due(-1)
        elif step == "kill":
            rig.kill()
        elif step == "kill while asking":
            rig.box.intend(1)
            expected["killed"] += 1
            rig.kill()
        else:
            rig.box.close()
            rig.open()
    assert rig.frames() == recorded
    declared: Counter = Counter()
    for lost in rig.lost():
        declared[lost.reason] += lost.reads
    assert declared == expected
    check_chain(rig)
    rig.box.close()


def test_old_readings_are_sealed_in_their_own_epoch(tmp_path):
    """After a kill the waiting readings continue the old epoch's sequence, before the new epoch's first envelope."""
    rig = Rig(tmp_path)
    old = rig.box.epoch
    rig.read()
    nth = rig.box.intend(2)
    rig.clock.advance(50)
    rig.kill()
    boot, readings, boot_again, lost = rig.envelopes()
    assert (boot.kind, boot.epoch, boot.sequence) == (EVENT, old, 0)
    assert (readings.kind, readings.epoch, readings.sequence, readings.uptime_ms) == (READINGS, old, 1, 200)
    assert (boot_again.epoch, boot_again.sequence) == (rig.box.epoch, 0)
    assert (lost.kind, lost.meter, lost.epoch) == (LOST, 2, rig.box.epoch)
    assert nth == 1
    assert lost.body == (old, 2, 2, 200, 2200, 1, "killed")


def test_a_power_cut_is_declared_with_its_bounds(tmp_path):
    """When the machine went down, each meter may have lost what it read since its last envelope."""
    rig = Rig(tmp_path)
    rig.read()
    rig.box.seal_due(-1)
    rig.boot = "second boot"
    rig.kill()
    assert [(lost.reason, lost.from_uptime_ms, lost.to_uptime_ms, lost.reads) for lost in rig.lost()] == [
        ("power", 200, 11_200, 12),
        ("power", 0, 11_000, 12),
    ]
    rig.box.close()
    rig.boot = "third boot"
    rig.open()
    assert len(rig.lost()) == 2, "after a clean stop nothing is missing"


def test_seals_wait_their_time_and_split_where_the_clock_changes(tmp_path):
    """Readings wait for one another; a calendar that becomes known or jumps begins a new envelope; 256 are enough."""
    rig = Rig(tmp_path)
    rig.is_synced = False
    rig.clock.advance(5000)
    rig.read()
    assert rig.box.seal_due(1000) == 0
    rig.clock.advance(5000)
    rig.is_synced = True
    rig.read()
    rig.clock.set_now_ms(rig.clock.now_ms() + 60_000)
    rig.read()
    assert rig.box.seal_due(1000) == 3
    readings = [e for e in rig.envelopes() if e.kind == READINGS]
    assert [e.utc_ms is None for e in readings] == [True, False, False]
    assert readings[2].utc_ms - readings[1].utc_ms == 60_200
    for _ in range(300):
        rig.read()
    assert rig.box.seal_due(1_000_000) == 2
    sizes = [len(e.body.offsets_ms) for e in rig.envelopes() if e.kind == READINGS]
    assert sizes == [1, 1, 1, 256, 44]


def test_readings_of_one_millisecond_still_rise(tmp_path):
    """Two answers in the same millisecond are one millisecond apart in the envelope."""
    rig = Rig(tmp_path)
    for _ in range(3):
        rig.box.record(1, rig.box.intend(1), rig.uptime.moment(), (0, 0))
    rig.box.seal_due(-1)
    assert rig.envelopes()[-1].body.offsets_ms == (0, 1, 2)


def test_the_largest_readings_fit(tmp_path):
    """256 readings of the largest numbers and the farthest offsets stay within one envelope."""
    rig = Rig(tmp_path)
    for _ in range(256):
        rig.clock.advance(20_000_000_000_000)
        rig.box.record(1, rig.box.intend(1), rig.uptime.moment(), ((1 << 63) - 1, -(1 << 63)))
    assert rig.box.seal_due(-1) == 1


def test_time_records_reach_back_to_undated_epochs(tmp_path):
    """Once the time is known, the epochs of this boot that never knew it are dated too."""
    rig = Rig(tmp_path)
    rig.is_synced = False
    old = rig.box.epoch
    rig.clock.set_now_ms(1000)
    rig.read()
    rig.kill()
    rig.clock.advance(10_000)
    rig.clock.set_now_ms(1_763_600_010_000)
    rig.is_synced = True
    fix = rig.uptime.fix_due()
    assert fix is not None
    rig.box.fix_time(fix, rig.boot)
    bodies = [e.body for e in rig.envelopes() if e.kind == TIME]
    assert bodies == [(old, 10_200, 1_763_600_010_000, 1), (rig.box.epoch, 10_000, 1_763_600_010_000, 1)]


def test_receipts_move_forward_only(tmp_path):
    """Stored stops resending, anchored deletes, smaller numbers and unknown epochs change nothing, impossible ones
    refuse the whole message."""
    rig = Rig(tmp_path)
    for _ in range(5):
        rig.read()
        rig.box.seal_due(-1)
    box, epoch = rig.box, rig.box.epoch
    assert len(box.unstored(0, 100)) == 6
    assert box.settle([EpochReceipt(epoch, 4, 2)])
    assert [item.sequence for item in box.unstored(0, 100)] == [4, 5]
    assert [item.sequence for item in box.held(epoch, 0, 100, 100)] == [2, 3, 4, 5]
    assert [item.sequence for item in box.last_unanchored()] == [3]
    assert box.settle([EpochReceipt(epoch, 1, 0), EpochReceipt(bytes(8), 9, 9)])
    assert not box.settle([EpochReceipt(epoch, 5, 3), EpochReceipt(epoch, 7, 0)])
    assert not box.settle([EpochReceipt(epoch, 5, 6)])
    assert [item.sequence for item in box.held(epoch, 0, 100, 100)] == [2, 3, 4, 5]
    rig.kill()
    assert [item.sequence for item in rig.box.held(epoch, 0, 100, 100)] == [2, 3, 4, 5]
    assert rig.box.settle([EpochReceipt(epoch, 6, 6)])
    assert rig.box.held(epoch, 0, 100, 100) == []


def test_what_is_gone_is_said_to_be_gone(tmp_path):
    """A request for what was anchored and deleted is answered once with a lost record, the rest is sent."""
    rig = Rig(tmp_path)
    for _ in range(5):
        rig.read()
        rig.box.seal_due(-1)
    epoch = rig.box.epoch
    rig.box.settle([EpochReceipt(epoch, 4, 4)])
    for _ in range(2):
        assert [item.sequence for item in rig.box.resend(epoch, 1, 6, 100)] == [4, 5]
    assert rig.lost() == [(epoch, 1, 4, 0, 0, 0, "deleted")]
    assert rig.box.resend(bytes(8), 0, 10, 100) == []


def fill(rig: Rig) -> int:
    """Read and seal until the outbox keeps nothing more; how many frames were kept."""
    for at in range(200_000):
        if at % 20 == 0:
            rig.box.seal_due(-1)
            rig.box.look_at_room()
        rig.frame += 1
        rig.clock.advance(1)
        if not rig.box.record(1, rig.box.intend(1), rig.uptime.moment(), (rig.frame, 0)):
            return at
    pytest.fail("the outbox never became full")


def test_a_full_outbox_counts_what_it_cannot_keep(tmp_path):
    """At its limit the outbox keeps no more and counts; after receipts it goes on and declares the number."""
    rig = Rig(tmp_path, meters=(1,), max_bytes=MEBIBYTE)
    kept = fill(rig)
    assert rig.box.trouble == "outbox_full"
    for _ in range(9):
        rig.clock.advance(1000)
        rig.read()
    assert rig.box.unkept == 10
    rig.kill()
    assert len(rig.frames()) == kept
    rig.box.look_at_room()
    assert rig.box.trouble == "outbox_full"
    for epoch, state in rig.box._epochs.items():
        assert rig.box.settle([EpochReceipt(epoch, state.next_sequence, state.next_sequence)])
    rig.box.look_at_room()
    assert rig.box.trouble == ""
    number = rig.read()
    rig.box.seal_due(-1)
    assert rig.frames() == [number]


def test_the_hard_limit_is_no_crash(tmp_path):
    """Even when nobody looks at the room in time, the file stops growing at its limit and stays whole."""
    rig = Rig(tmp_path, meters=(1,), max_bytes=MEBIBYTE)
    kept = []
    while rig.box.trouble == "":
        kept.append(rig.read())
        if len(kept) % 100 == 0:
            rig.box.seal_due(-1)
        assert len(kept) < 100_000
    unkept = rig.box.unkept
    assert (rig.folder / "outbox.sqlite").stat().st_size <= MEBIBYTE
    rig.box.settle([EpochReceipt(rig.box.epoch, *(2 * [rig.box._epochs[rig.box.epoch].next_sequence]))])
    rig.box.look_at_room()
    rig.box.seal_due(-1)
    assert rig.box.trouble == ""
    assert sum(lost.reads for lost in rig.lost()) == unkept
    assert all(lost.reason == "outbox_full" for lost in rig.lost())
    rig.kill()
    assert rig.box.found == []


def test_a_full_disk_is_a_state_that_passes(small_disk):
    """When somebody else fills the disk, frames are counted, receipts still empty the outbox, then all goes on."""
    rig = Rig(small_disk, meters=(1,))
    kept = []
    for _ in range(10):
        kept += [rig.read() for _ in range(5)]
        rig.box.seal_due(-1)
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    while rig.box.trouble == "":
        kept.append(rig.read())
        rig.box.seal_due(-1)
        assert len(kept) < 100_000
    assert rig.box.trouble == "disk_full"
    kept.pop()
    for _ in range(5):
        rig.read()
    rig.box.look_at_room()
    assert rig.box.trouble == "disk_full"
    assert rig.box.settle([EpochReceipt(rig.box.epoch, 3, 3)]), "receipts are taken on a full disk"
    assert rig.box.held(rig.box.epoch, 0, 3, 10) == []
    unkept = rig.box.unkept
    filler.unlink()
    rig.box.look_at_room()
    assert rig.box.trouble == ""
    rig.box.seal_due(-1)
    assert sum(lost.reads for lost in rig.lost()) == unkept
    assert {lost.reason for lost in rig.lost()} == {"disk_full"}
    last = rig.read()
    rig.box.seal_due(-1)
    assert rig.frames()[-1] == last
    assert set(rig.frames()) <= {*kept, last}
    rig.box.close()
    rig.open()
    assert rig.box.found == []


def test_no_room_to_begin_is_one_clear_error(small_disk):
    """An outbox that cannot even begin on a full disk says so and leaves what is there as it was."""
    rig = Rig(small_disk)
    rig.read()
    rig.kill(and_open=False)
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    for _ in range(3):
        try:
            rig.open()
        except OutboxFull:
            break
        rig.kill(and_open=False)
    (small_disk / "filler").unlink()
    rig.open()
    assert rig.frames() == [1]


@pytest.mark.parametrize("damage", ["header", "middle", "missing", "empty"])
def test_a_broken_file_is_set_aside_and_its_content_declared(tmp_path, damage):
    """What had been in a broken outbox is declared lost from the marks beside it, and the chain goes on."""
    rig = Rig(tmp_path)
    for _ in range(40):
        for meter in METERS:
            rig.read(meter)
        rig.box.seal_due(-1)
    rig.box.settle([EpochReceipt(rig.box.epoch, 11, 0)])
    rig.read(1)
    old, tip = rig.box.epoch, rig.box._tip
    rig.kill(and_open=False)
    path = rig.folder / "outbox.sqlite"
    path.with_name("outbox.sqlite-wal").unlink(missing_ok=True) if damage == "missing" else None
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.with_name("outbox.sqlite-wal").write_bytes(b"")
        path.write_bytes(b"")
    else:
        path.with_name("outbox.sqlite-wal").write_bytes(b"")
        content = content or bytearray(8192)
        at = 0 if damage == "header" else 4096
        content[at : at + 4096] = b"\x5a" * 4096
        path.write_bytes(bytes(content))
    rig.open()
    assert len(rig.box.found) == 1
    first = rig.envelopes()[0]
    assert first.previous == tip.previous
    assert rig.lost() == [
        (old, 11, tip.sequence, 0, 0, 0, "outbox_broken"),
        (old, tip.sequence, tip.sequence, 1800, 18_200, 36, "outbox_broken"),
        (old, tip.sequence, tip.sequence, 2000, 18_000, 35, "outbox_broken"),
    ]
    assert rig.box.settle([EpochReceipt(old, tip.sequence, tip.sequence)])
    rig.kill()
    assert rig.box.found == []
    assert len(rig.lost()) == 3


def test_a_damaged_envelope_is_found_and_declared(tmp_path):
    """One changed byte in one stored envelope loses that envelope only."""
    rig = Rig(tmp_path)
    for _ in range(3):
        rig.read()
        rig.box.seal_due(-1)
    rig.box._db.execute("UPDATE envelope SET data = CAST(data || x'00' AS BLOB) WHERE sequence = 2")
    epoch = rig.box.epoch
    rig.kill()
    assert "1 envelopes" in rig.box.found[0]
    assert rig.frames() == [1, 3]
    assert rig.lost() == [(epoch, 2, 3, 0, 400, 1, "damaged")]


def test_a_file_that_breaks_under_a_running_process_is_no_crash(tmp_path):
    """Garbage written into the open file is a state at most, and the next start sets the file aside."""
    rig = Rig(tmp_path)
    rig.box._db.execute("PRAGMA cache_size=1")
    for _ in range(50):
        rig.read()
        rig.box.seal_due(-1)
    rig.box._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    path = rig.folder / "outbox.sqlite"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\x5a" * (path.stat().st_size - 4096))
    for _ in range(20):
        rig.read()
        rig.box.seal_due(-1)
        rig.box.unstored(0, 100)
        rig.box.settle([EpochReceipt(rig.box.epoch, 1, 1)])
        rig.box.look_at_room()
        rig.box.counts()
    assert rig.box.broken
    assert rig.box.trouble
    rig.kill()
    assert "kept as outbox.sqlite.broken-1" in rig.box.found[0]
    assert {lost.reason for lost in rig.lost()} <= {"outbox_broken", "disk_full"}
    assert sum(lost.reads for lost in rig.lost()) >= 70
