"""The device reading real Modbus frames: what the simulated meters served is what the platform has, value by value."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import suppress

import pytest

from terang.kits.meter.simulator import served
from terang.values.envelope import LOST, READINGS

pytestmark = pytest.mark.broker


@pytest.fixture
def lines(tmp_path):
    """A simulator with two lines of two meters; the folder of its links and of its list."""
    folder = tmp_path / "lines"
    command = [sys.executable, "-m", "terang.kits.meter.simulator", str(folder), "--buses", "2", "--meters", "2"]
    process = subprocess.Popen(command)
    yield folder
    process.terminate()
    process.wait()


def stored(platform) -> dict[int, list[tuple[int, ...]]]:
    """meter -> values of every stored reading, in the order of making."""
    found: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    epochs = list(dict.fromkeys(envelope.epoch for envelope in platform.order))
    for envelope in sorted(platform.bodies(READINGS), key=lambda e: (epochs.index(e.epoch), e.sequence)):
        found[envelope.meter] += zip(*[column for _, column in sorted(envelope.body.columns.items())], strict=True)
    return found


def served_by(folder, first: int | None, *, sound: bool) -> dict[int, list[tuple[int, ...]]]:
    """meter -> the values it served, among the `first` frames of all; only those without a fault where `sound`."""
    found: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for item in served(folder / "served.bin")[:first]:
        if not item.fault or not sound:
            found[item.bus * 256 + item.address].append(item.values)
    return found


def test_modbus_frames_arrive_value_by_value(bench, meters, lines):
    """Two kills, spoilt frames: all sound frames are stored in order but the declared ones, spoilt ones never."""
    device, platform = bench(buses=2, addresses=2, ports=f"{lines}/bus")
    platform.bell.wait_for((lines / "ready.json").exists)
    device.start()
    for at in (40, 100):
        platform.bell.wait_for(lambda at=at: len(served(lines / "served.bin")) >= at)
        device.kill()
        device.start()
    faults = [{"bus": 0, "address": 1, "kind": kind, "count": 2} for kind in ("crc", "glitch", "short", "stranger")]
    (lines / "faults.jsonl").write_text("".join(json.dumps(fault) + "\n" for fault in faults))
    platform.bell.wait_for(lambda: sum(1 for item in served(lines / "served.bin") if item.fault) >= 6)
    before = len(served(lines / "served.bin"))
    platform.bell.wait_for(lambda: len(served(lines / "served.bin")) >= before + 40)
    assert device.stop() == 0
    until_here = len(served(lines / "served.bin"))
    device.start()
    platform.bell.wait_for(lambda: is_accounted(platform, lines, until_here))
    assert device.stop() == 0
    platform.bell.wait_for(lambda: is_accounted(platform, lines, None))
    reasons = {envelope.body.reason for envelope in platform.bodies(LOST)}
    assert "refused" in reasons
    assert reasons <= {"refused", "killed", "no_answer"}
    assert "Traceback" not in device.said()


def is_accounted(platform, folder, first: int | None) -> bool:
    """Whether every stored reading was served, in that order, and all the others among `first` are declared lost."""
    with suppress(AssertionError):
        have, declared = stored(platform), Counter[int]()
        for envelope in platform.bodies(LOST):
            declared[envelope.meter] += envelope.body.reads
        for meter, sound in served_by(folder, None, sound=True).items():
            rest = iter(sound)
            assert all(values in rest for values in have[meter]), "a stored reading was not served, or is there twice"
        for meter, everything in served_by(folder, first, sound=False).items():
            assert len(everything) - len(have[meter]) <= declared[meter]
        return True
    return False
