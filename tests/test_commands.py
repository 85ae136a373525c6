"""Commands: done and logged, or refused in one line with nothing changed."""

import pytest

from terang.serve.pages import Pages
from terang.store.schema import metadata
from terang.testing import FakeDevice, MiniPlatform
from terang.values.act import open_act
from terang.values.command import (
    AckNotice,
    AddRoom,
    AddUser,
    AdoptDevice,
    Ask,
    Command,
    ConfirmBinding,
    DecideStep,
    Done,
    EndTenancy,
    NewLogin,
    PlaceMeter,
    Refused,
    RevokeDevice,
    SetPassword,
    StartTenancy,
    Watch,
)
from terang.values.record import ACT

NOW = 1_763_600_000_000
KEY = FakeDevice(1).key.public.hex()
DEVICE = FakeDevice(1).id.hex()
HASH = "$argon2id$v=19$m=65536$x"


@pytest.fixture
def platform(tmp_path):
    with MiniPlatform(tmp_path) as made:
        made.adopt(FakeDevice(1))
        made.order(AddUser(name="ibu", password_hash=HASH, role="owner"))
        made.order(AddUser(name="budi", password_hash=HASH, role="tenant", language="en"))
        made.order(AddRoom(name="Kamar 1"))
        yield made


def dump(platform):
    """Every table as rows."""
    return {t.name: platform.writer.rows(f'SELECT * FROM "{t.name}" ORDER BY 1, 2') for t in metadata.sorted_tables}


def acts(platform):
    """The acts in the log, opened with the platform's key."""
    return [
        open_act(platform.key.public, record.data) for record in platform.log.records(0, 10**6) if record.kind == ACT
    ]


REFUSED = [
    AddUser(name="ibu", password_hash=HASH, role="owner"),
    AddUser(name="x", password_hash=HASH, role="admin"),
    AddUser(name="x", password_hash=HASH, role="owner", language="nl"),
    AddUser(name="x", password_hash="plain", role="owner"),
    AddUser(name="  ", password_hash=HASH, role="owner"),
    AddUser(name="x" * 81, password_hash=HASH, role="owner"),
    AddUser(name="\ud800", password_hash=HASH, role="owner"),
    SetPassword(name="nobody", password_hash=HASH),
    SetPassword(name="ibu", password_hash="plain"),
    AddRoom(name="Kamar 1"),
    AddRoom(name=""),
    AddRoom(name="\udfff"),
    StartTenancy(room="Kamar 9", user="budi"),
    StartTenancy(room="Kamar 1", user="nobody"),
    StartTenancy(room="Kamar 1", user="budi", from_ms=1 << 80),
    EndTenancy(room="Kamar 1"),
    EndTenancy(room="Kamar 9"),
    AdoptDevice(public_key=KEY, name="again"),
    AdoptDevice(public_key="zz" * 32, name="x"),
    AdoptDevice(public_key="00" * 31, name="x"),
    AdoptDevice(public_key="11" * 32, name=""),
    AdoptDevice(public_key="00" * 32, name="of small order"),
    AddRoom(name="Kamar 1 "),
    AddRoom(name="Kamar\n2"),
    AddUser(name="\x1b[31mred", password_hash=HASH, role="owner"),
    NewLogin(device="00" * 16),
    NewLogin(device="hello"),
    RevokeDevice(device="00" * 16, reason="x"),
    RevokeDevice(device="hello", reason="x"),
    PlaceMeter(device=DEVICE, address=1, room="Kamar 9"),
    PlaceMeter(device="00" * 16, address=1, room="Kamar 1"),
    PlaceMeter(device=DEVICE, address=-1, room="Kamar 1"),
    PlaceMeter(device=DEVICE, address=1 << 70, room="Kamar 1"),
    PlaceMeter(device=DEVICE, address=1, room="Kamar 1", kit="door"),
    ConfirmBinding(device=DEVICE, address=1),
    ConfirmBinding(device="00" * 16, address=1),
    ConfirmBinding(device="hello", address=1 << 70),
    DecideStep(step=1, counted_mwh=5),
    DecideStep(step=1 << 80, counted_mwh=5),
    AckNotice(notice=1),
    AckNotice(notice=-(1 << 80)),
]


@pytest.mark.parametrize("command", REFUSED, ids=lambda command: type(command).__name__)
def test_what_cannot_be_is_refused_and_changes_nothing(platform, command):
    """One clear sentence, not a row more or less, and the platform goes on."""
    before = dump(platform)
    answer = platform.pipeline.execute(Ask(by="ibu", command=command))
    assert isinstance(answer, Refused)
    assert len(answer.reason) > 10
    assert "\n" not in answer.reason
    assert dump(platform) == before
    assert platform.take(FakeDevice(1).event("start")).accepted == 1


def test_every_command_is_tried_here():
    """Each kind of command is refused or done somewhere in this file."""
    assert {type(command) for command in REFUSED} | {Watch} == set(Command.__args__)


def test_people_rooms_and_tenancies(platform):
    """Users and rooms are kept, a new password ends sessions, a tenancy begins and ends; the log names numbers only."""
    platform.order(SetPassword(name="budi", password_hash=HASH + "2"), by="ibu")
    assert platform.writer.rows("SELECT password_hash, session_version FROM user WHERE name='budi'") == [
        (HASH + "2", 2)
    ]
    tenancy = platform.order(StartTenancy(room="Kamar 1", user="budi"), by="ibu").value["tenancy"]
    answer = platform.pipeline.execute(Ask(by="ibu", command=StartTenancy(room="Kamar 1", user="ibu")))
    assert isinstance(answer, Refused)
    platform.clock.advance(5000)
    platform.order(EndTenancy(room="Kamar 1"), by="ibu")
    assert platform.writer.rows("SELECT id, from_ms, to_ms FROM tenancy") == [(int(tenancy), NOW, NOW + 5000)]
    platform.order(StartTenancy(room="Kamar 1", user="budi", from_ms=NOW + 9000))
    named = [(act.name, act.person, act.values) for act in acts(platform)[4:]]
    assert named == [
        ("start_tenancy", 1, (1, 1, 2, NOW)),
        ("end_tenancy", 1, (1, 1)),
        ("start_tenancy", 0, (2, 1, 2, NOW + 9000)),
    ]
    assert not any(b"budi" in record.data or b"Kamar" in record.data for record in platform.log.records(0, 99))


def test_only_who_lives_there_confirms_the_meter(platform):
    """Each tenant for the own room and the meter that is there now; the word ends with the tenancy."""

    def confirm(by):
        return platform.pipeline.execute(Ask(by=by, command=ConfirmBinding(device=DEVICE, address=1)))

    def confirmed():
        pages = Pages(platform.log, platform.chain, platform.clock)
        return [meter.confirmed_ms for room in pages.rooms() for meter in room.meters]

    platform.order(PlaceMeter(device=DEVICE, address=1, room="Kamar 1"))
    platform.order(StartTenancy(room="Kamar 1", user="budi"), by="ibu")
    assert isinstance(confirm("ibu"), Refused)
    assert isinstance(confirm(""), Refused)
    assert confirmed() == [None]
    platform.clock.advance(1000)
    assert isinstance(confirm("budi"), Done)
    assert [(act.person, act.values) for act in acts(platform) if act.name == "confirm_binding"] == [
        (2, (bytes.fromhex(DEVICE), 1, 1, 1))
    ]
    assert confirmed() == [NOW + 1000]
    platform.order(EndTenancy(room="Kamar 1"), by="ibu")
    assert confirmed() == [None]
    assert isinstance(confirm("budi"), Refused)
    platform.order(StartTenancy(room="Kamar 1", user="budi"), by="ibu")
    assert confirmed() == [None]
    platform.order(AddRoom(name="Kamar 2"))
    platform.order(PlaceMeter(device=DEVICE, address=1, room="Kamar 2"))
    assert isinstance(confirm("budi"), Refused)


def test_devices_and_meters(platform):
    """An adopted device gets a login that works once it is written, a placed meter its room; a revoked one is out."""
    other = FakeDevice(2)
    value = platform.order(AdoptDevice(public_key=other.key.public.hex(), name="loteng"), by="ibu").value
    assert value["device"] == other.id.hex()
    assert value["platform_key"] == platform.key.public.hex()
    assert len(value["password"]) >= 32
    hashed = platform.writer.rows("SELECT mqtt_password_hash FROM device WHERE name='loteng'")[0][0]
    assert hashed.startswith("$7$")
    assert value["password"] not in hashed
    platform.order(AddRoom(name="Kamar 2"))
    platform.order(PlaceMeter(device=other.id.hex(), address=7, room="Kamar 1"))
    platform.clock.advance(1000)
    meter = platform.order(PlaceMeter(device=other.id.hex(), address=7, room="Kamar 2")).value["meter"]
    assert platform.writer.rows("SELECT meter_id, room_id, from_ms, to_ms FROM placement") == [
        (int(meter), 1, NOW, NOW + 1000),
        (int(meter), 2, NOW + 1000, None),
    ]
    platform.order(RevokeDevice(device=other.id.hex(), reason="r" * 500))
    assert platform.writer.rows("SELECT revoked_ms, length(revoke_reason) FROM device WHERE name='loteng'") == [
        (NOW + 1000, 200)
    ]
    answer = platform.pipeline.execute(Ask(by="ibu", command=RevokeDevice(device=other.id.hex(), reason="x")))
    assert isinstance(answer, Refused)
    assert [act.name for act in acts(platform)] == [
        *("adopt_device", "add_user", "add_user", "add_room"),
        "adopt_device",
        "add_room",
        "place_meter",
        "place_meter",
        "revoke_device",
    ]
    platform.anchor()
    assert platform.audit().kept == []


def test_a_notice_is_seen_once(platform):
    """The first time counts; to look at a proof changes nothing in the store."""
    platform.take(FakeDevice(1).event("bus_dead", 4))
    platform.order(AckNotice(notice=1))
    platform.clock.advance(9000)
    platform.order(AckNotice(notice=1))
    assert platform.writer.rows("SELECT seen_ms FROM notice") == [(NOW,)]
    before = dump(platform)
    assert platform.order(Watch()) == Done()
    assert dump(platform) == before
