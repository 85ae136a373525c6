"""Houses that several tests share: one whose broker keeps everybody to the own topic, and one where nobody does."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.house import Edge, House, Meters, all_ended, check_speech, free_port, until
from tests.serve.strangers import Stranger

PACE = {"poll_s": 0.2, "record_s": 0.0, "envelope_s": 0.2, "resend_s": 3.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("house")


@pytest.fixture(scope="module")
def meters(folder: Path) -> Iterator[Meters]:
    made = Meters(folder / "meters", buses=1, each=2)
    with all_ended(made.program):
        made.start()
        yield made


@pytest.fixture(scope="module")
def guarded(folder: Path, meters: Meters) -> Iterator[tuple[House, Edge]]:
    """A house with mosquitto as Terang starts it, logins and ACL and all, and a device that is being read."""
    house = House(folder / "guarded")
    with all_ended(house.serve):
        house.start()
        edge = Edge(folder / "guarded-device", house, meters, pace=PACE)
        with all_ended(edge.program):
            edge.program.start()
            until("a reading of every meter", lambda: house.one("SELECT count(*) FROM latest") == meters.each)
            yield house, edge
            edge.program.end()
        house.end()
    check_speech(house.serve, edge.program)


@pytest.fixture
def open_broker(tmp_path: Path, mosquitto_path: Path) -> Iterator[int]:
    """The port of a mosquitto that lets everybody do everything."""
    port = free_port()
    config = tmp_path / "open.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    with (tmp_path / "open.log").open("wb") as log, subprocess.Popen(
        [str(mosquitto_path), "-c", str(config)], stdout=log, stderr=log
    ) as process:
        until("mosquitto", lambda: _is_open(port))
        yield port
        process.terminate()


def _is_open(port: int) -> bool:
    try:
        with Stranger(port):
            return True
    except OSError:
        return False


