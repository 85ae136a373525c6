"""Stopping, starting, starting wrongly: what a person does to a platform, and what it says to that."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.serve.accounts_of_frames import in_log, in_store, losses, unseen
from tests.serve.conftest import PACE
from tests.serve.house import BIN, Edge, House, Meters, all_ended, check_speech, until

from terang.ledger.committer import Committer
from terang.ledger.embedded import EmbeddedChain
from terang.ledger.keyfile import load_or_create_key
from terang.values.clock import FakeClock, SystemClock

pytestmark = pytest.mark.timeout(300)

_AHEAD_S = 15
_STOP_S = 15


@dataclass
class Lived:
    """A house that was stopped and started while its device went on, and stands still now.

    `older` is its store as it was at the first stop; `stops_s` how long each stop took [s].
    """

    house: House
    edge: Edge
    meters: Meters
    older: Path
    stops_s: list[float]


@pytest.fixture(scope="module")
def lived(folder: Path, meters: Meters) -> Iterator[Lived]:
    """One stop with SIGTERM in the middle of everything, and another at the end."""
    house = House(folder / "lived", broker="embedded", anchor_s=2)
    older, stops_s = folder / "older.sqlite", []
    with all_ended(house.serve):
        house.start()
        edge = Edge(folder / "lived-device", house, meters, pace=PACE)
        with all_ended(edge.program):
            edge.program.start()
            until("readings", lambda: house.stored() > 20)
            stops_s.append(house.end(_STOP_S))
            assert house.is_all_anchored(), "the last anchor was not made"
            before = house.stored()
            house.close_pages()
            shutil.copy(house.settings.store_path, older)
            house.start()
            until("readings after the start", partial(has_more, house, before))
            edge.end_delivered(house)
        stops_s.append(house.end(_STOP_S))
        yield Lived(house, edge, meters, older, stops_s)


def has_more(house: House, before: int) -> bool:
    """Whether readings have come since."""
    return house.stored() > before + 20


def test_a_stop_in_the_middle_loses_nothing(lived: Lived) -> None:
    """While the platform is stopped and started the device goes on, and every frame is stored and logged once; each
    stop anchors what there is, takes seconds, and nobody speaks in tracebacks."""
    stored, logged, lost = in_store(lived.house.pages), in_log(lived.house.pages), losses(lived.house.pages)
    assert stored == logged
    assert not lost
    for address, frames in lived.meters.served_by_meter().items():
        assert unseen(frames, stored[address]) == []
    print(f"stops: {lived.stops_s} s")
    check_speech(lived.house.serve, lived.edge.program)


def test_an_older_store_is_not_served(lived: Lived, tmp_path: Path) -> None:
    """With a store from an older copy `serve` refuses to start, in words that name `terang restore`, and signs nothing;
    with the right store it starts again."""
    house = copy_of(lived.house, tmp_path / "copy")
    right = house.settings.store_path.read_bytes()
    signed = house.settings.signing_state_path.read_bytes()
    house.settings.store_path.write_bytes(lived.older.read_bytes())
    with all_ended(house.serve):
        house.serve.start()
        until("serve to give up", partial(has_ended, house))
        assert house.serve.process is not None
        assert house.serve.process.returncode == 1
        assert "`terang restore`" in house.serve.said()
        assert "restored from an older copy" in house.serve.said()
        check_speech(house.serve)
        assert house.settings.signing_state_path.read_bytes() == signed
        for path in house.data.glob("store.sqlite*"):
            path.unlink()
        house.settings.store_path.write_bytes(right)
        house.start()
        house.end(_STOP_S)


def test_a_second_platform_on_one_directory_is_refused(lived: Lived, tmp_path: Path) -> None:
    """A second `serve` ends at once with one line that says who holds the directory; the first does not notice."""
    house = copy_of(lived.house, tmp_path / "copy")
    with all_ended(house.serve):
        house.start()
        command = [str(BIN / "terang"), "serve", "--data", str(house.data)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1, second.stderr
        assert f"is being written by process {house.core_pid()}" in second.stderr
        assert "stop it first" in second.stderr
        house.end(_STOP_S)
    check_speech(house.serve)


def test_a_taken_port_is_one_clear_line(tmp_path: Path, mosquitto_path: Path) -> None:
    """Whichever port is taken, `serve` ends, and the line that says so names the port."""
    cases = {
        "embedded": House(tmp_path / "embedded", broker="embedded"),
        "mosquitto": House(tmp_path / "mosquitto"),
        "web": House(tmp_path / "web", broker="embedded"),
        "rpc": House(tmp_path / "rpc", broker="embedded"),
    }
    with ExitStack() as stack, all_ended(*(house.serve for house in cases.values())):
        for name, house in cases.items():
            setting = "broker_port" if name in ("embedded", "mosquitto") else f"{name}_port"
            port = getattr(house.settings, setting)
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
            house.serve.start()
        for name, house in cases.items():
            until(f"serve to give up the {name} port", partial(has_ended, house))
            assert house.serve.process is not None
            assert house.serve.process.returncode == 1
            check_speech(house.serve)
            port = getattr(house.settings, "broker_port" if name in ("embedded", "mosquitto") else f"{name}_port")
            lines = [line for line in house.serve.said().splitlines() if str(port) in line and "pages: " not in line]
            assert lines, f"{name}: nobody says that port {port} is taken: {house.serve.said()}"


def test_a_wrong_clock_pauses_anchoring_and_nothing_else(lived: Lived, tmp_path: Path) -> None:
    """After a block that a clock set ahead has dated into the future, anchoring waits and the owner reads why; readings
    go on, and anchoring too once that time has come."""
    house = copy_of(lived.house, tmp_path / "copy")
    seal_ahead(house)
    edge = lived.edge
    with all_ended(house.serve):
        house.start()
        before = house.stored()
        with all_ended(edge.program):
            edge.program.start()
            until("the owner to be told", house.paused)
            assert "ahead of this machine's clock" in str(house.paused())
            anchored = house.pages.ledger().anchored_size
            until("readings meanwhile", lambda: house.stored() > before + 5)
            assert house.paused()
            assert house.pages.ledger().anchored_size == anchored
            until("anchoring to go on", lambda: house.pages.ledger().anchored_size > anchored)
            until("the owner to be told", lambda: not house.paused())
            assert edge.program.end() == 0
        house.end(_STOP_S)
    check_speech(house.serve)
    assert "anchoring waits" in house.serve.said()


def has_ended(house: House) -> bool:
    """Whether its processes have ended by themselves."""
    return not house.serve.is_up


def copy_of(house: House, data: Path) -> House:
    """The same house in another directory, on the same ports: only one may run."""
    assert has_ended(house)
    house.close_pages()
    shutil.copytree(house.data, data, ignore=shutil.ignore_patterns("*.sock", "*.ipc"))
    copied = House(data, broker="embedded", anchor_s=2)
    (data / "terang.toml").write_text((house.data / "terang.toml").read_text())
    copied.reload()
    return copied


def seal_ahead(house: House) -> None:
    """One more block, sealed by this house's own signer while its clock was wrong."""
    settings = house.settings
    clock = FakeClock(SystemClock().now_ms() + _AHEAD_S * 1000)
    signer = load_or_create_key(settings.chain_dir / "signer.key")
    chain = EmbeddedChain.open(settings.chain_dir, clock=clock, signer_key=signer)
    try:
        committer = Committer(load_or_create_key(settings.keys_dir / "committer.key"))
        contract = bytes.fromhex(house.pages.setting("contract"))
        chain.submit(
            committer.register(
                bytes(32),
                contract=contract,
                chain_id=chain.chain_id,
                nonce=chain.nonce(committer.address),
                base_fee=chain.base_fee,
            )
        )
        assert chain.seal() is not None
    finally:
        chain.close()
