"""What the single writer refuses, tells and bounds."""

import pytest

from terang.kits.meter import KIT
from terang.pipeline import Pipeline
from terang.testing import FakeDevice, MiniPlatform, moment
from terang.values.command import AddRoom, PlaceMeter
from terang.values.envelope import Envelope
from terang.values.errors import KitError
from terang.values.reading import Event

NOW = 1_763_600_000_000
DAY = 24 * 3_600_000


@pytest.fixture
def device():
    return FakeDevice(1)


@pytest.fixture
def platform(tmp_path, device):
    with MiniPlatform(tmp_path) as made:
        made.adopt(device)
        yield made


def count(platform, table):
    """Rows of a table."""
    return platform.writer.rows(f'SELECT count(*) FROM "{table}"')[0][0]


def test_an_ended_epoch_is_receipted_after_a_restart(platform, device):
    """What an epoch left unanchored is receipted when it is anchored, though nothing of it was heard since the
    start.
    """
    platform.take(device.event("start"), device.event("stop"))
    key = (device.id, device.epoch)
    platform.pipeline = Pipeline(writer=platform.writer, kits=platform.kits, key=platform.key, clock=platform.clock)
    told = {}
    anchor = platform.pipeline.anchor

    def listen(anchored):
        found = anchor(anchored)
        told.update(found)
        return found

    platform.pipeline.anchor = listen
    platform.anchor()
    assert told[key] == (2, 2, None)


def test_the_quarantine_is_bounded(platform):
    """Of what strangers send the newest thousand are kept, and all are counted."""
    platform.take_all([b"x%d" % i for i in range(2500)])
    platform.take_all([b"y" * 1_000_000])
    assert count(platform, "quarantine") == 1000
    assert sum(row[0] for row in platform.writer.rows("SELECT count FROM refusal")) == 2501
    assert platform.writer.rows("SELECT reason, size, length(head) FROM quarantine ORDER BY id DESC LIMIT 1") == [
        ("too_large", 1_000_000, 256)
    ]


@pytest.mark.parametrize("field", ["sequence", "meter", "uptime"])
@pytest.mark.parametrize("number", [1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_no_number_of_an_envelope_stops_the_writer(platform, device, field, number):
    """64-bit numbers in a signed head are refused or set aside; the group that holds them is committed."""
    head = {"sequence": 0, "meter": 1, "uptime": 0} | {field: number}
    odd = device.sign(
        Envelope(
            4, device.id, device.epoch, head["sequence"], bytes(32), head["meter"], 0, head["uptime"], None, 0,
            Event("start", -(1 << 64)),
        )
    )  # fmt: skip
    device.sequence = 1
    platform.take(odd, device.readings([moment(5)], utc_ms=NOW))
    assert count(platform, "reading") == 1
    assert platform.anchor() == 0


def test_a_broken_chain_of_hashes_raises_an_alarm(platform, device):
    """An envelope that names another one before it than the stored one is told once; a gap is not a break."""
    made = [device.event("start", i) for i in range(5)]
    platform.take(made[0], made[1], made[3], made[2], made[4])
    assert count(platform, "notice") == 0
    device.previous = bytes(31) + b"\x01"
    platform.take(device.event("start"))
    assert [row[0] for row in platform.writer.rows("SELECT topic FROM notice")] == ["chain_broken"]


def test_two_live_processes_of_one_key_raise_an_alarm(platform):
    """Readings of one epoch amid those of another, more than ten seconds deep: two processes hold one key."""
    one, two = FakeDevice(1, epoch=1), FakeDevice(1, epoch=2)
    platform.take(one.readings([moment(0)], utc_ms=NOW), one.readings([moment(1)], utc_ms=NOW + 60_000))
    assert count(platform, "notice") == 0
    platform.take(two.readings([moment(1)], utc_ms=NOW + 55_000))
    assert count(platform, "notice") == 0
    platform.take(two.readings([moment(1)], utc_ms=NOW + 30_000))
    assert [row[0] for row in platform.writer.rows("SELECT topic FROM notice")] == ["two_epochs"]


def test_a_kit_that_is_gone_stops_the_start(platform, device):
    """Meters of a kit that is not installed any more: the start names it, and no envelope fails later."""
    platform.order(AddRoom(name="1"))
    platform.kits["door"] = KIT
    platform.order(PlaceMeter(device=device.id.hex(), address=9, room="1", kit="door"))
    with pytest.raises(KitError, match="door"):
        Pipeline(writer=platform.writer, kits={"meter": KIT}, key=platform.key, clock=platform.clock)


def test_a_platform_whose_clock_is_behind_loses_nothing(platform, device):
    """A board that wakes up three days back keeps what devices sign, without a date; when its clock is right and a
    device speaks again, all of it stands at its time.
    """
    platform.clock.set_now_ms(NOW - 3 * DAY)
    outcome = platform.take_all(device.readings([moment(1000 * i)], utc_ms=NOW + 1000 * i) for i in range(20))
    assert outcome.epochs[device.id, device.epoch].stored_end == 20
    assert (count(platform, "reading"), count(platform, "undated")) == (0, 20)
    assert platform.writer.rows("SELECT topic FROM notice") == [("clock_ahead",)]
    assert platform.audit().kept == []
    platform.pipeline = Pipeline(
        writer=platform.writer, kits=platform.kits, key=platform.key, clock=platform.clock
    )
    platform.clock.advance(3 * DAY)
    device.restart(2)
    platform.take(device.readings([moment(30_000)], utc_ms=NOW + 60_000))
    assert (count(platform, "reading"), count(platform, "undated")) == (21, 0)
    assert platform.writer.rows("SELECT confirmed_mwh FROM latest")[0][0] > 15_000
    assert platform.audit().kept == []


def test_a_device_far_ahead_is_dated_when_its_time_comes(platform, device):
    """A clock two years ahead: kept and counted, never shown as of that time, and nothing behind it is held up."""
    platform.take(device.readings([moment(1000)], utc_ms=NOW + 730 * DAY), device.readings([moment(2000)], utc_ms=NOW))
    assert platform.writer.rows("SELECT first_ms FROM reading") == [(NOW,)]
    assert count(platform, "undated") == 1
    assert platform.audit().kept == []
