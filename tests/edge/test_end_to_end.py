"""The device over a real mosquitto: everything that may break does, and every frame arrives once."""

import json
import random
import subprocess
import sys
from collections import Counter
from contextlib import suppress

import pytest

from terang.edge.agent import status
from terang.values.envelope import EVENT, FIRST_PREVIOUS, LOST, READINGS, TIME, envelope_hash
from terang.values.receipt import CONTEXT, EpochReceipt, Receipt, Resend, encode_down
from terang.values.signing import KeyPair, sign_statement

pytestmark = pytest.mark.broker


def stored_count(platform) -> int:
    return sum(map(len, platform.frames().values()))


def check_exactly_once(platform, served: dict[tuple[int, int], int]) -> int:
    """Of every meter its first `served` frames are stored once each; one that is not was the last of an epoch of
    which a lost record names this meter, with one read. The number of frames named so."""
    frames = platform.frames()
    named: Counter[tuple[int, bytes]] = Counter()
    for envelope in platform.bodies(LOST):
        assert envelope.body.reason == "killed", envelope
        assert envelope.body.reads == 1
        named[(envelope.meter, envelope.body.epoch)] += 1
    assert all(count == 1 for count in named.values())
    missing_frames = 0
    for (bus, address), count in served.items():
        meter = bus * 256 + address
        epoch_of = {number: epoch for epoch, number in frames[meter]}
        assert len(epoch_of) == len(frames[meter]), "a frame is stored twice"
        missing = set(range(count)) - set(epoch_of)
        silent = {epoch for m, epoch in named if m == meter} - set(epoch_of.values())
        missing_frames += len(missing)
        for number in missing:
            before = epoch_of.get(number - 1)
            after = [epoch for n, epoch in epoch_of.items() if n > number]
            assert after, f"meter {meter}: frame {number} and all after it are missing"
            assert before not in after, f"meter {meter}: frame {number} is missing in the middle of an epoch"
            assert (meter, before) in named or silent, f"meter {meter}: frame {number} is missing without a word"
    return missing_frames


def check_chain(platform) -> None:
    """All envelopes form one chain: each carries the hash of the one before, over every epoch."""
    by_previous = {envelope.previous: name for name, envelope in platform.stored.items()}
    assert len(by_previous) == len(platform.stored)
    at, length = FIRST_PREVIOUS, 0
    while at in by_previous:
        at = envelope_hash(platform.bytes_of[by_previous[at]])
        length += 1
    assert length == len(platform.stored)


def test_frames_arrive_and_the_outbox_empties(bench, meters):
    """Every frame that the meters served is stored once, in order, and a clean stop leaves nothing behind."""
    device, platform = bench(buses=3)
    device.start()
    meters.bell.wait_for(lambda: meters.total >= 60)
    assert device.stop() == 0
    platform.bell.wait_for(lambda: stored_count(platform) == meters.total)
    for (bus, address), served in meters.served.items():
        assert [number for _, number in platform.frames()[bus * 256 + address]] == served
    assert [e.body.name for e in platform.bodies(EVENT)] == ["boot"]
    assert len(platform.bodies(TIME)) == 1
    assert not platform.lost()
    assert all(e.utc_ms is not None for e in platform.bodies(READINGS))
    check_chain(platform)
    assert "Traceback" not in device.said()


@pytest.mark.timeout(600)
def test_nothing_is_lost_when_everything_is_killed(bench, meters, broker, soak, chance):
    """Device, broker and platform die at random moments while 20 buses are read 5 times a second: exactly once."""
    device, platform = bench(buses=20)
    platform.drop_share = 0.02
    kills = soak(25, 4)
    device.start()
    for number in range(kills):
        victim = "device" if number == 0 else chance.choice(["device", "device", "broker", "platform"])
        at = meters.total + chance.randrange(60, 300)
        if victim == "device":
            process = device.process
            meters.on_served = lambda total, at=at, process=process: total == at and process.kill()
            meters.bell.wait_for(lambda at=at, process=process: meters.total >= at and process.poll() is not None)
            device.process = None
            device.start()
        elif victim == "broker":
            meters.bell.wait_for(lambda at=at: meters.total >= at)
            broker.kill()
            meters.bell.wait_for(lambda at=at: meters.total >= at + 50)
            broker.start()
        else:
            platform.is_deaf = True
            meters.bell.wait_for(lambda at=at: meters.total >= at)
            platform.is_deaf = False
    after = meters.total + 200
    meters.bell.wait_for(lambda: meters.total >= after)
    platform.drop_share = 0.0
    deliver_the_rest(device, platform, meters)
    named = check_exactly_once(platform, counts(meters))
    print(f"{meters.total} frames, {named} in flight at a kill, {platform.duplicates} duplicates")
    assert "Traceback" not in device.said()


def deliver_the_rest(device, platform, meters) -> None:
    """Stop cleanly; what could not be delivered then is delivered after a start; stop again, with nothing missing."""
    assert device.stop() == 0
    until_here = counts(meters)
    device.start()
    platform.bell.wait_for(lambda: is_complete(platform, until_here))
    assert device.stop() == 0
    platform.bell.wait_for(lambda: is_complete(platform, counts(meters)))
    check_chain(platform)


def counts(meters) -> dict[tuple[int, int], int]:
    return {meter: len(frames) for meter, frames in meters.served.items()}


def is_complete(platform, served) -> bool:
    with suppress(AssertionError):
        check_exactly_once(platform, served)
        return True
    return False


def test_what_the_broker_acknowledged_and_lost_is_sent_again(bench, meters, broker):
    """Envelopes that mosquitto acknowledged and lost in a kill arrive after its return."""
    device, platform = bench(buses=2)
    platform.is_deaf = True
    device.start()
    meters.bell.wait_for(lambda: meters.total >= 20)
    broker.kill()
    meters.bell.wait_for(lambda: meters.total >= 40)
    platform.is_deaf = False
    broker.start()
    platform.bell.wait_for(lambda: has_frame(platform, 0) and has_frame(platform, 20))
    deliver_the_rest(device, platform, meters)
    assert "connection" in device.said()


def has_frame(platform, number: int) -> bool:
    """Whether this frame of two meters is stored."""
    return sum(any(n == number for _, n in found) for found in platform.frames().values()) == 2


def test_what_the_platform_did_not_take_is_sent_again(bench, meters):
    """While the connection stands, envelopes that got no receipt are sent again after a while."""
    device, platform = bench(buses=2)
    platform.is_deaf = True
    device.start()
    meters.bell.wait_for(lambda: meters.total >= 20)
    platform.is_deaf = False
    platform.bell.wait_for(lambda: has_frame(platform, 0) and has_frame(platform, 20))
    assert device.said().count("broker") == 1
    deliver_the_rest(device, platform, meters)


def test_only_the_pinned_key_empties_the_outbox(bench, meters):
    """Forged, foreign, broken and impossible messages delete nothing; the platform's own receipt does."""
    device, platform = bench(buses=1)
    platform.is_mute = True
    device.start()
    platform.bell.wait_for(lambda: stored_count(platform) >= 5)
    epoch = platform.order[-1].epoch
    big = EpochReceipt(epoch, 3, 3)
    platform.send(Receipt(platform.device, (big,)), key=KeyPair.generate())
    platform.send(Receipt(bytes(16), (big,)))
    platform.send(Receipt(platform.device, (EpochReceipt(epoch, 10**6, 10**6),)))
    platform.publish(b"\xd2\x84 this is no receipt")
    platform.publish(sign_statement(platform.key, encode_down(Receipt(platform.device, (big,))), CONTEXT + b"x"))
    platform.publish(sign_statement(platform.key, b"\x84\x01\x09\x40\x80", CONTEXT))
    platform.bell.wait_for(lambda: state_of(device).get("down", {}).get("impossible"))
    platform.bell.wait_for(lambda: sum(state_of(device)["down"].values()) == 6)
    state = state_of(device)
    assert state["down"] == {"forged": 2, "foreign": 1, "impossible": 1, "broken": 2}
    assert "platform" in state["faults"]
    platform.send(Resend(platform.device, epoch, 0, 3))
    platform.bell.wait_for(lambda: platform.duplicates >= 3)
    platform.send(Receipt(platform.device, (big,)))
    platform.send(Resend(platform.device, epoch, 0, 3))
    platform.bell.wait_for(lambda: any(lost.reason == "deleted" for lost in platform.lost()))
    lost = next(lost for lost in platform.lost() if lost.reason == "deleted")
    assert (lost.epoch, lost.first_sequence, lost.end_sequence) == (epoch, 0, 3)


def state_of(device) -> dict:
    with suppress(OSError, ValueError):
        return json.loads((device.folder / "state.json").read_text())
    return {}


def test_the_second_process_says_why_it_ends(bench, meters):
    """A second agent with one key ends with one clear line; the first goes on."""
    device, _ = bench(buses=1)
    device.start()
    meters.bell.wait_for(lambda: meters.total >= 2)
    command = [sys.executable, *device.process.args[1:]]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert second.stderr.startswith("KeyInUse: another process is using the key")
    assert second.stderr.count("\n") == 1
    assert "answers" in status(device.folder)
    device.kill()
    assert status(device.folder).startswith("the agent is not running")


def test_a_dead_bus_comes_back(bench, meters):
    """Silence and refused frames are states and events; the other bus goes on, and every missed read is declared."""
    device, platform = bench(buses=2)
    usual = meters.answer
    mode = {0: "good"}

    def answer(bus: int, address: int, nth: int) -> bytes | None:
        if bus == 1 or mode[0] == "good":
            return usual(bus, address, nth)
        return b"x" if mode[0] == "bad" else None

    meters.answer = answer
    device.start()
    platform.bell.wait_for(lambda: stored_count(platform) >= 4)
    mode[0] = "bad"
    platform.bell.wait_for(lambda: any(e.body.name == "frame_refused" for e in platform.bodies(EVENT)))
    mode[0] = "good"
    platform.bell.wait_for(lambda: any(lost.reason == "refused" for lost in platform.lost()))
    mode[0] = "silent"
    platform.bell.wait_for(lambda: any(e.body.name == "bus_dead" for e in platform.bodies(EVENT)))
    mode[0] = "good"
    platform.bell.wait_for(lambda: any(e.body.name == "bus_back" for e in platform.bodies(EVENT)))
    platform.bell.wait_for(lambda: any(lost.reason == "no_answer" for lost in platform.lost()))
    device.stop()
    platform.bell.wait_for(lambda: stored_count(platform) == sum(map(len, meters.served.values())))
    lines = device.said().splitlines()
    assert any("bus 0" in line and "is dead" in line for line in lines)
    assert len(lines) < 20, lines
    assert "Traceback" not in device.said()


def test_the_platform_may_be_away_for_long(bench, meters):
    """Without any receipt nothing is deleted; with the first ones everything goes."""
    device, platform = bench(buses=2)
    platform.is_mute = True
    device.start()
    platform.bell.wait_for(lambda: stored_count(platform) >= 20)
    device.kill()
    platform.is_mute = False
    device.start()
    platform.bell.wait_for(lambda: platform.duplicates > 0)
    platform.bell.wait_for(lambda: state_of(device).get("outbox", {}).get("held") == 0, 30)


def test_random_bytes_down_change_nothing(bench, meters):
    """A thousand random messages are counted as broken, and readings go on."""
    device, platform = bench(buses=1)
    device.start()
    platform.bell.wait_for(lambda: stored_count(platform) >= 2)
    noise = random.Random(7)
    for _ in range(1000):
        platform.publish(noise.randbytes(noise.randrange(200)))
    before = stored_count(platform)
    platform.bell.wait_for(lambda: stored_count(platform) >= before + 5)
    assert "Traceback" not in device.said()
