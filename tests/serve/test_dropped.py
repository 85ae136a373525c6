"""The demo's own count of what was lost can be wrong in no direction: one envelope that vanishes is seen."""

import contextlib
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.serve.house import free_port, until

from terang.app import open_pages, prepare
from terang.demo import Demo
from terang.edge.config import EdgeConfig, load_config, render_config
from terang.kits.meter.simulator import served
from terang.reader import Gap
from terang.serve.supervisor import Child
from terang.settings import Settings, load_settings

pytestmark = pytest.mark.timeout(300)

_ROUNDS = 4


class Vanished(NamedTuple):
    """The envelope that was taken out of the outbox, and how many readings it held."""

    epoch: str
    sequence: int
    reads: int


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A running demo on ports of its own."""
    ports = {name: free_port() for name in ("broker_port", "web_port", "rpc_port")}
    settings = load_settings(tmp_path / "demo", {}, broker="embedded", anchor_s=1, **ports)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    made = Demo(settings, prepare(settings))
    try:
        made.start()
        yield made
    finally:
        made.supervisor.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def test_one_vanished_envelope_is_one_lost(demo: Demo, capfd: pytest.CaptureFixture[str]) -> None:
    """Untouched the demo has lost nothing; with one envelope gone from the device before it was sent, it has lost that
    envelope's reading, and the owner sees the gap."""
    settings, folder = demo.settings, demo.settings.data / "device"
    demo.supervisor.end("device")
    until("everything to be anchored", lambda: is_all_anchored(settings))
    untouched = demo.result()
    assert untouched.served == untouched.readings > 0
    assert (untouched.lost, untouched.invented) == (0, 0)
    config = load_config(folder / "device.toml")
    keep_for_itself(demo, folder, config, settings.data / "meters" / "served.bin")
    vanished = take_one(folder / "outbox.sqlite")
    run_device(demo, folder, config)
    until("the gap", lambda: gaps(settings))
    result = demo.finish()
    assert vanished.reads == 1
    assert (result.lost, result.invented) == (1, 0)
    assert result.served == result.readings + 1 > untouched.served
    assert gaps(settings) == [Gap(epoch=vanished.epoch, first=vanished.sequence, end=vanished.sequence + 1)]
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "panicked" not in said


def keep_for_itself(demo: Demo, folder: Path, config: EdgeConfig, list_of_answers: Path) -> None:
    """Let the device read for a while where no broker listens, and stop it."""
    before = len(served(list_of_answers))
    run_device(demo, folder, replace(config, broker_port=free_port()))
    until("readings that stay", lambda: len(served(list_of_answers)) >= before + 6 * _ROUNDS)
    demo.supervisor.end("device")


def run_device(demo: Demo, folder: Path, config: EdgeConfig) -> None:
    """The demo's device with this configuration."""
    (folder / "device.toml").write_text(render_config(config))
    child = Child("device", "terang.simulated:run_device", (folder,))
    demo.supervisor.children.append(child)
    child.start()


def take_one(outbox: Path) -> Vanished:
    """Take an envelope with a reading out of the middle of the newest epoch."""
    with contextlib.closing(sqlite3.connect(outbox)) as db, db:
        rows = db.execute(
            "SELECT id, hex(epoch.epoch), sequence, reads FROM envelope JOIN epoch USING (serial)"
            " WHERE reads > 0 AND sequence >= stored_end AND serial = (SELECT max(serial) FROM epoch) ORDER BY id"
        ).fetchall()
        place, epoch, sequence, reads = rows[len(rows) // 2]
        db.execute("DELETE FROM envelope WHERE id=?", (place,))
    return Vanished(epoch.lower(), sequence, reads)


def is_all_anchored(settings: Settings) -> bool:
    """Whether every record stands on the chain."""
    ledger = open_pages(settings).ledger()
    return ledger.size == ledger.anchored_size


def gaps(settings: Settings) -> list[Gap]:
    """What the owner sees missing."""
    return [gap for device in open_pages(settings).devices() for gap in device.gaps]
