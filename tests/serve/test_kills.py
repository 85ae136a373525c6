"""Every part killed with -9 at random moments, and every frame accounted for."""

import random
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from tests.serve.accounts_of_frames import in_log, in_store, losses, unseen
from tests.serve.house import Edge, House, Meters, all_ended, check_speech, kill, until

from terang.cli.audit import audit_platform
from terang.delivery import Delivery, compare

pytestmark = [pytest.mark.broker, pytest.mark.serial, pytest.mark.timeout(3600)]

BUSES = 20
PACE = {"poll_s": 0.2, "record_s": 0.0, "envelope_s": 0.5, "resend_s": 3.0}
TARGETS = ("edge", "core", "broker", "everything", "ledger")


def schedule(n: int, chance: random.Random) -> list[str]:
    """n targets, each of them equally often, in a random order that begins with each once."""
    targets: list[str] = []
    while len(targets) < n:
        targets += chance.sample(TARGETS, len(TARGETS)) if targets else TARGETS
    return targets[:n]


def strike(target: str, house: House, edge: Edge) -> None:
    """-9 for the target, and a start by hand where nobody else would start it again."""
    if target == "edge":
        edge.program.kill_tree()
        edge.program.start()
    elif target == "everything":
        house.serve.kill_tree()
        house.serve.start()
    else:
        find = {"core": house.core_pid, "broker": house.mosquitto_pid, "ledger": house.ledger_pid}[target]
        until(f"the {target} to run", find)
        pid = find()
        assert pid is not None
        kill(pid)
        until(f"another {target}", lambda: find() not in (None, pid))


def has_more(house: House, before: int) -> bool:
    """Whether readings have come since."""
    return house.stored() > before + BUSES


def test_every_frame_survives_kills(tmp_path: Path, mosquitto_path: Path, soak) -> None:
    """Core, ledger, broker, the whole platform and the device die at random moments, and every frame that a meter
    served is stored once and logged once, but for at most the one being read when the device died."""
    n = soak(25, 4)
    chance = random.Random(20251120)
    house = House(tmp_path / "house")
    meters = Meters(tmp_path / "meters", buses=BUSES)
    with all_ended(house.serve, meters.program):
        meters.start()
        house.start()
        edge = Edge(tmp_path / "device", house, meters, pace=PACE)
        with all_ended(edge.program):
            edge.program.start()
            until("a reading of every meter", lambda: house.one("SELECT count(*) FROM latest") == BUSES)
            done = Counter[str]()
            for target in schedule(n, chance):
                threading.Event().wait(chance.uniform(0.3, 3.0))  # the moment is what is random here
                before = house.stored()
                strike(target, house, edge)
                done[target] += 1
                if chance.random() < 0.5:  # else the next one may fall while everybody still gets up
                    until("readings after the kill", partial(has_more, house, before))
            until("readings after the last kill", partial(has_more, house, house.stored()))
            edge.end_delivered(house)
        until("everything to be anchored", house.is_all_anchored)
        house.end()
        check_frames(house, meters, done)
        check_speech(house.serve, edge.program, meters.program)


def check_frames(house: House, meters: Meters, done: Counter[str]) -> None:
    """Every served frame is stored once and logged once, or named as lost; nothing else is stored or logged."""
    served = meters.served_by_meter()
    stored, logged, lost = in_store(house.pages), in_log(house.pages), losses(house.pages)
    assert stored == logged, "the log says something else than the pages"
    assert set(served) == {256 * bus + 1 for bus in range(BUSES)}
    total = Delivery(0, 0, 0, 0)
    reasons = Counter(loss.reason for declared in lost.values() for loss in declared)
    print(f"kills: {dict(done)}; frames: {sum(map(len, served.values()))}; lost records: {dict(reasons)}")
    for address, frames in served.items():
        missing = unseen(frames, stored[address])
        total += compare([item.values for item in frames], [frame.values for frame in stored[address]])
        declared = lost.get(address, [])
        assert len(missing) <= sum(loss.reads for loss in declared), f"meter {address}: {missing} and {declared}"
        killed = [loss for loss in declared if loss.reason == "killed"]
        assert all(loss.reads == 1 for loss in killed)
        assert len(killed) <= done["edge"], f"meter {address}: {declared}"
    print(f"delivery: {total}")
    assert set(reasons) <= {"killed"}, reasons
    assert total.invented == 0
    assert total.lost <= BUSES * done["edge"]
    topics = Counter(notice.topic for notice in house.pages.notices(open_only=False))
    assert not topics & Counter(forked=1, chain_broken=1, two_epochs=1), topics
    findings = audit_platform(house.settings, show=False)
    assert findings.count == 0, findings.kept[:5]
