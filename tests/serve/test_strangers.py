"""Strangers who publish in a device's name, and devices that say what cannot be."""

import random
from collections import Counter
from pathlib import Path

import pytest
from tests.serve.accounts_of_frames import in_log, in_store, losses, unseen
from tests.serve.conftest import PACE
from tests.serve.house import Edge, House, Meters, all_ended, check_speech, until
from tests.serve.strangers import VALUES, Stranger, forgeries, reasons

from terang.cli.audit import audit_platform
from terang.serve.pages import Pages
from terang.testing import FakeDevice
from terang.values.clock import SystemClock
from terang.values.command import Watch
from terang.values.receipt import CONTEXT, EpochReceipt, Receipt, Resend, decode_down, encode_down
from terang.values.signing import KeyPair, open_statement, sign_statement

pytestmark = [pytest.mark.broker, pytest.mark.timeout(900)]

QUARANTINE_ROWS = 1000
NOW_MS = 1_800_000_000_000


def counted(pages: Pages, before: Counter[str]) -> Counter[str]:
    """How many were refused since, by reason."""
    return Counter(pages.refused_counts()) - before


def envelopes_of(house: House, device: str) -> list[bytes]:
    """The exact bytes that are stored of a device."""
    rows = house.pages.rows(
        "SELECT r.position FROM record r JOIN epoch e ON e.id = r.epoch_id JOIN device d ON d.id = e.device_id"
        " WHERE d.key_id=? ORDER BY r.position",
        (bytes.fromhex(device),),
    )
    return [house.pages.data_of(row[0]) for row in rows]


def check_own_frames(house: House, meters: Meters, since_ms: int = 0) -> None:
    """Every frame that the meters served is stored once and logged once."""
    stored, logged, lost = in_store(house.pages), in_log(house.pages), losses(house.pages)
    for address, frames in meters.served_by_meter().items():
        mine = [frame for frame in stored[address] if frame.time_ms >= since_ms]
        assert mine == [frame for frame in logged[address] if frame.time_ms >= since_ms]
        assert unseen([item for item in frames if item.time_ms >= since_ms], mine) == []
        assert not lost.get(address)


def check_words(edge: Edge, heard: list[tuple[str, bytes]], made: dict[bytes, int]) -> int:
    """How many receipts came; fails for any word that is not the platform's own, to the device, about what it made."""
    count = 0
    for topic, data in heard:
        assert topic == f"terang/v1/{edge.id}/down"
        message = decode_down(open_statement(edge.config.platform_key, data, CONTEXT))
        assert isinstance(message, (Receipt, Resend))
        assert message.device.hex() == edge.id
        if isinstance(message, Resend):
            assert message.end_sequence <= made[message.epoch], "a forged envelope made the platform miss others"
            continue
        count += 1
        for epoch in message.epochs:
            assert epoch.anchored_end <= epoch.stored_end <= made[epoch.epoch]
    return count


def test_forged_envelopes_take_nothing_from_a_device(tmp_path: Path, open_broker: int, soak) -> None:
    """On a broker without any guard a stranger publishes thousands of forged envelopes under a device's topic: its own
    readings all arrive, each forgery is counted with its reason, and no receipt speaks of one."""
    n = soak(10_000, 1_500)
    chance = random.Random(5)
    meters = Meters(tmp_path / "meters", buses=1, each=2)
    house = House(tmp_path / "open", broker=f"mqtt://127.0.0.1:{open_broker}")
    with all_ended(house.serve, meters.program), Stranger(open_broker, listen=["terang/v1/+/down"]) as stranger:
        meters.start()
        house.start()
        edge = Edge(tmp_path / "device", house, meters, pace=PACE, broker_port=open_broker)
        with all_ended(edge.program):
            edge.program.start()
            until("some envelopes to copy", lambda: house.stored() > 20)
            forged = forgeries(n, chance, bytes.fromhex(edge.id), envelopes_of(house, edge.id))
            before = house.stored()
            half = len(forged) // 2
            stranger.publish(f"terang/v1/{edge.id}/up", [item.data for item in forged[:half]])
            house.kill_checkers()
            stranger.publish(f"terang/v1/{edge.id}/up", [item.data for item in forged[half:]])
            must = reasons(forged)
            until("all to be counted", lambda: sum(house.pages.refused_counts().values()) >= must.total(), 300)
            until("the device's own readings", lambda: house.stored() > before + 20)
            edge.end_delivered(house)
        until("everything to be anchored", house.is_all_anchored)
        check_own_frames(house, meters)
        assert Counter(house.pages.refused_counts()) == must
        check_quarantine(house, must.total())
        made = edge.made()
        assert Counter(envelopes_of(house, edge.id)).most_common(1)[0][1] == 1
        assert len(envelopes_of(house, edge.id)) == sum(made.values())
        assert check_words(edge, stranger.heard, made) > 0
        house.end()
    assert [device.id for device in house.pages.devices()] == [edge.id]
    assert audit_platform(house.settings, show=False).count == 0
    check_speech(house.serve, edge.program)


def check_quarantine(house: House, refused: int) -> None:
    """The quarantine keeps the newest thousand and the owner sees every reason."""
    rows = house.one("SELECT count(*) FROM quarantine")
    assert rows == min(refused, QUARANTINE_ROWS)
    assert house.one("SELECT max(length(head)) FROM quarantine") <= 256
    shown = house.pages.refused(10_000)
    assert sum(row.count for row in shown) == rows
    assert {row.reason for row in shown} == set(house.pages.refused_counts())
    assert all(row.detail and row.kind == "quarantined" for row in shown)


def test_a_stolen_password_forges_nothing(guarded: tuple[House, Edge], soak) -> None:
    """With a device's own password a stranger reaches only that device's topic, and forges as little there."""
    n = soak(2_000, 200)
    house, edge = guarded
    own = f"terang/v1/{edge.id}/"
    other = FakeDevice(77)
    login = house.adopt(other.key.public)
    chance = random.Random(6)
    refused_before, before_ms = Counter(house.pages.refused_counts()), SystemClock().now_ms()
    until("some envelopes to copy", lambda: len(envelopes_of(house, edge.id)) > 20)
    forged = forgeries(n, chance, bytes.fromhex(edge.id), envelopes_of(house, edge.id))
    with Stranger(house.settings.broker_port, edge.id, edge.password, listen=[own + "down"]) as thief:
        thief.publish(own + "up", [item.data for item in forged])
        until(
            "all forgeries to be counted",
            lambda: counted(house.pages, refused_before).total() >= reasons(forged).total(),
        )
        assert counted(house.pages, refused_before) == reasons(forged)
        until("a receipt", lambda: thief.heard)
        made = {bytes(epoch): stored_end for epoch, stored_end, _ in house.epochs(edge.id)}
        assert check_words(edge, thief.heard.copy(), made) > 0
    until("the other device's login", lambda: log_in(house, login))
    with Stranger(house.settings.broker_port, login["device"], login["password"], listen=[own + "down"]) as neighbour:
        neighbour.shout(own + "up", [b"\x00 not mine"] * 50)
    with Stranger(house.settings.broker_port, login["device"], login["password"], listen=[own + "down"]) as neighbour:
        neighbour.publish(f"terang/v1/{login['device']}/up", [other.readings([VALUES], utc_ms=SystemClock().now_ms())])
        until("the neighbour's own envelope", lambda: house.epochs(other.id.hex()))
        assert neighbour.heard == []
    assert counted(house.pages, refused_before) == reasons(forged)
    with Stranger(house.settings.broker_port, edge.id, "a guess") as guesser:
        assert guesser.refused
    until("newer readings", house.is_fresh_of(edge.id, before_ms))


def log_in(house: House, login: dict[str, str]) -> bool:
    """Whether the broker knows this login by now."""
    with Stranger(house.settings.broker_port, login["device"], login["password"]) as device:
        return not device.refused


def test_what_cannot_be_true_blocks_nothing(guarded: tuple[House, Edge]) -> None:
    """300 A, a clock of 1970 and one of 2100, rightly signed: stored, shown with their reasons, counted, receipted, and
    the true readings before and after count as if they had not been."""
    house, _ = guarded
    device = FakeDevice(4242)
    login = house.adopt(device.key.public, "liar")
    before = Counter(house.pages.refused_counts())
    now_ms = SystemClock().now_ms()
    said = [
        device.readings([VALUES] * 2, utc_ms=now_ms - 60_000),
        device.readings([(220_000, 300_000, 66_000_000, 9_000_000, 50_000, 1000)], utc_ms=now_ms - 40_000),
        device.readings([VALUES], utc_ms=0),
        device.readings([VALUES], utc_ms=4_102_444_800_000),
        device.readings([(*VALUES[:3], 8_000, *VALUES[4:])] * 2, utc_ms=now_ms - 20_000),
    ]
    until("the device's login", lambda: log_in(house, login))
    down = f"terang/v1/{login['device']}/down"
    with Stranger(house.settings.broker_port, login["device"], login["password"], listen=[down]) as sender:
        sender.publish(f"terang/v1/{login['device']}/up", said)
        until("all five to be anchored", lambda: [row[1:] for row in house.epochs(login["device"])] == [(5, 5)])
        until("the receipt of it", lambda: (device.epoch, 5, 5) in told(login, sender))
    rows = house.pages.rows(
        "SELECT r.state, r.reason, m.id FROM record r JOIN meter m ON m.id = r.meter_id JOIN device d"
        " ON d.id = m.device_id WHERE d.key_id=? ORDER BY r.sequence",
        (device.id,),
    )
    assert [row[0] for row in rows] == [0, 1, 1, 1, 0]
    assert all(word in (row[1] or "") for row, word in zip(rows, ["", "current_ma", "2024", "2100", ""], strict=True))
    assert counted(house.pages, before) == Counter(implausible=3)
    shown = [row for row in house.pages.refused(1000) if row.device == login["device"]]
    assert {row.kind for row in shown} == {"implausible"}
    assert len(shown) == 3
    meter = rows[0][2]
    latest = house.pages.latest((meter,))[meter]
    assert (latest.time_ms, latest.energy_mwh, latest.total_confirmed_mwh) == (now_ms - 19_000, 8_000, 1_000)


def told(login: dict[str, str], sender: Stranger) -> list[tuple[bytes, int, int]]:
    """The epochs of every receipt that came."""
    found: list[tuple[bytes, int, int]] = []
    for _, data in sender.heard:
        message = decode_down(open_statement(bytes.fromhex(login["platform_key"]), data, CONTEXT))
        if isinstance(message, Receipt):
            found += [tuple(epoch) for epoch in message.epochs]
    return found


def test_a_gap_is_shown_asked_for_and_closed(guarded: tuple[House, Edge]) -> None:
    """Envelopes that come before those they follow are stored; the owner sees the gap, the device is asked for what is
    missing, and the gap closes when it comes. A second envelope of one number is kept beside the first, and told."""
    house, _ = guarded
    before = Counter(house.pages.refused_counts())
    device = FakeDevice(4343)
    login = house.adopt(device.key.public, "gapped")
    now_ms = SystemClock().now_ms()
    said = [device.readings([VALUES], utc_ms=now_ms - 10_000 + 1000 * i) for i in range(6)]
    device.sequence = 1
    other = device.readings([(*VALUES[:3], 9_000, *VALUES[4:])], utc_ms=now_ms)
    up, down = (f"terang/v1/{login['device']}/{word}" for word in ("up", "down"))
    until("the device's login", lambda: log_in(house, login))
    with Stranger(house.settings.broker_port, login["device"], login["password"], listen=[down]) as sender:
        sender.publish(up, [said[0], said[1], said[5]])
        until("the gap to be seen", lambda: gaps(house, login) == [(2, 5)])
        until("the platform to ask", lambda: asked(login, sender))
        assert asked(login, sender) == [(device.id, device.epoch, 2, 5)]
        sender.publish(up, [said[4], said[0], said[2], said[3], other])
        until("the gap to close", lambda: gaps(house, login) == [] and house.epochs(login["device"])[0][1] == 6)
        until("the second to be told", lambda: "forked" in topics(house))
    assert len(envelopes_of(house, login["device"])) == 7
    assert "forked" in {row.reason for row in house.pages.refused(1000) if row.device == login["device"]}
    assert counted(house.pages, before) == Counter(forked=1)


def topics(house: House) -> set[str]:
    """What the owner is told of."""
    return {row.topic for row in house.pages.notices(open_only=False)}


def gaps(house: House, login: dict[str, str]) -> list[tuple[int, int]]:
    """What the owner sees missing of a device."""
    device = next(row for row in house.pages.devices() if row.id == login["device"])
    return [(gap.first, gap.end) for gap in device.gaps]


def asked(login: dict[str, str], sender: Stranger) -> list[Resend]:
    """What the platform has asked to be sent again."""
    key = bytes.fromhex(login["platform_key"])
    words = [decode_down(open_statement(key, data, CONTEXT)) for _, data in sender.heard]
    return [word for word in words if isinstance(word, Resend)]


def test_a_frame_of_another_meter_is_refused_on_the_device(guarded: tuple[House, Edge], meters: Meters) -> None:
    """A frame with a right checksum and another meter's address, a broken one and a short one never become readings:
    each is declared lost as refused, the owner is told, and the frames around them arrive."""
    house, edge = guarded
    until("the meters to be read", lambda: house.one("SELECT count(*) FROM latest") >= meters.each)
    before = sum(loss.reads for loss in losses(house.pages).get(2, []))
    kinds = ("stranger", "crc", "short")
    for kind in kinds:
        meters.put_fault(kind, address=2)
    until("three lost records", lambda: sum(loss.reads for loss in losses(house.pages).get(2, [])) >= before + 3)
    assert {loss.reason for loss in losses(house.pages)[2]} <= {"refused", "no_answer"}
    spoilt = [item for item in meters.served() if item.address == 2 and item.fault]
    assert len(spoilt) == len(kinds)
    until("newer readings", house.is_fresh_of(edge.id, spoilt[-1].time_ms))
    stored = {frame.values for frame in in_store(house.pages)[2]}
    sound = {item.values for item in meters.served_by_meter()[2]}
    assert not stored & ({item.values for item in spoilt} - sound)
    until("the owner to be told", lambda: "device_frame_refused" in topics(house))
    assert {row.reason for row in house.pages.devices()[0].losses} >= {"refused"}


def test_a_forged_receipt_empties_no_outbox(tmp_path: Path, open_broker: int, soak) -> None:
    """Receipts that the platform did not sign for this device, and its own ones for another, delete nothing; the
    platform's own do."""
    n = soak(2_000, 200)
    meters = Meters(tmp_path / "meters", buses=1)
    house = House(tmp_path / "open", broker=f"mqtt://127.0.0.1:{open_broker}", anchor_s=3600)
    with all_ended(house.serve, meters.program), Stranger(open_broker) as stranger:
        meters.start()
        house.start()
        edge = Edge(tmp_path / "device", house, meters, pace=PACE, broker_port=open_broker)
        with all_ended(edge.program):
            edge.program.start()
            until("stored envelopes", lambda: house.stored() > 10)
            epochs = [bytes(row[0]) for row in house.epochs(edge.id)]
            stranger.publish(f"terang/v1/{edge.id}/down", false_receipts(n, bytes.fromhex(edge.id), epochs, house))
            before = house.stored()
            until("readings after that", lambda: house.stored() > before + 10)
            edge.end_delivered(house)
        made = edge.made()
        kept = edge.outbox("SELECT epoch.epoch FROM envelope JOIN epoch USING (serial)")
        assert Counter(bytes(row[0]) for row in kept) == made, "envelopes that are not anchored left the outbox"
        house.ask(Watch())
        until("everything to be anchored", house.is_all_anchored)
        before = house.stored()
        with all_ended(edge.program):
            edge.program.start()
            until("newer readings", lambda: house.stored() > before)
            edge.end_delivered(house)
        assert len(edge.outbox("SELECT 1 FROM envelope")) < sum(made.values()), "the platform's own receipt did nothing"
        check_own_frames(house, meters)
        house.end()
    check_speech(house.serve, edge.program)
    assert "a message that it did not sign for this device was refused" in edge.program.said()


def false_receipts(n: int, device: bytes, epochs: list[bytes], house: House) -> list[bytes]:
    """Everything is said to be anchored: signed by a stranger, by the platform for another device or for more than was
    made, and not at all."""
    chance = random.Random(8)
    platform = KeyPair(bytes.fromhex((house.settings.keys_dir / "platform.key").read_text()))
    found = []
    for i in range(n):
        end = chance.choice((5, 10, 1 << 20, (1 << 63) - 1))
        all_of_it = tuple(EpochReceipt(epoch, end, end) for epoch in epochs)
        true = sign_statement(platform, encode_down(Receipt(device, all_of_it)), CONTEXT)
        found.append(
            (
                sign_statement(KeyPair(chance.randbytes(32)), encode_down(Receipt(device, all_of_it)), CONTEXT),
                sign_statement(platform, encode_down(Receipt(chance.randbytes(16), all_of_it)), CONTEXT),
                true[:-1] + bytes((true[-1] ^ 1,)),
                sign_statement(platform, encode_down(Receipt(device, all_of_it))),
                true[: chance.randrange(len(true))],
            )[i % 5]
        )
    return found
