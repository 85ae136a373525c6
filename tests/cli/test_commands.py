"""The command line as somebody meets it who has not read the code: one clear line, and the right exit code."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from terang.serve.house import prepare
from terang.settings import Settings
from terang.testing import FakeDevice, MiniPlatform

TERANG = [sys.executable, "-c", "from terang.cli import main; main()"]


def terang(*arguments: object) -> subprocess.CompletedProcess[str]:
    """One run of the command line."""
    return subprocess.run([*TERANG, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A platform that exists and does not run, with an owner, a room and a device."""
    data = tmp_path_factory.mktemp("house")
    prepare(Settings(data=data))
    assert terang("user", "add", "ibu", "--role", "owner", "--password", "random", "--data", data).returncode == 0
    assert terang("room", "add", "Kamar 1", "--data", data).returncode == 0
    return data


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("audit", "--data", "/nowhere"), 2, "there is no platform in /nowhere"),
        (("proof", "1", "--data", "/nowhere"), 2, "there is no platform"),
        (("verify", "/nowhere.json"), 2, "does not exist"),
        (("edge", "--folder", "/nowhere"), 2, "terang device adopt"),
        (("frobnicate",), 2, "No such command"),
        (("user", "add", "x", "--role", "king"), 2, "king"),
        (("serve", "--broker", "carrier-pigeon", "--data", "DATA"), 2, "carrier-pigeon"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    """What was wrong and what to do, exit code 2, and never a traceback."""
    run = terang(*[str(tmp_path) if argument == "DATA" else argument for argument in arguments])
    assert (run.returncode, "Traceback" in run.stderr) == (code, False)
    assert said in run.stderr


def test_a_stopped_platform_takes_commands(house: Path) -> None:
    """Users, rooms and tenancies can be set up before anything runs, and are listed."""
    assert terang("user", "add", "budi", "--password", "12345678", "--data", house).returncode == 0
    assert terang("room", "move-in", "Kamar 1", "budi", "--data", house).returncode == 0
    assert "Kamar 1\tbudi" in terang("room", "list", "--data", house).stdout
    assert "budi\ttenant" in terang("user", "list", "--data", house).stdout
    again = terang("room", "move-in", "Kamar 1", "budi", "--data", house)
    assert (again.returncode, "somebody lives in Kamar 1" in again.stderr) == (2, True)


def test_a_device_is_adopted_with_a_file_of_its_own(house: Path, tmp_path: Path) -> None:
    """The key is made on the device, the platform answers with a file, and the device starts with both."""
    made = terang("edge", "--folder", tmp_path, "key")
    public_key = next(line.split()[-1] for line in made.stdout.splitlines() if line.startswith("public key"))
    out = tmp_path / "device.toml"
    adopt = ("device", "adopt", public_key, "--name", "Pi", "--bus", "/dev/ttyUSB0:1,2", "--data", house)
    adopted = terang(*adopt, "--out", out)
    assert adopted.returncode == 0, adopted.stderr
    assert out.stat().st_mode & 0o077 == 0
    device = adopted.stdout.split()[1]
    assert terang("device", "place", device, "1", "Kamar 1", "--data", house).returncode == 0
    assert f"{device}\tPi\tadopted" in terang("device", "list", "--data", house).stdout
    assert terang(*adopt).returncode == 2
    assert terang("device", "revoke", device, "--reason", "sold", "--data", house).returncode == 0
    assert f"{device}\tPi\trevoked" in terang("device", "list", "--data", house).stdout


def test_a_head_is_kept_and_compared(tmp_path: Path) -> None:
    """On paper or in a file; another log's, a longer one and nonsense are told apart."""
    with MiniPlatform(tmp_path / "one") as platform, MiniPlatform(tmp_path / "two") as other:
        none = terang("head", "--data", platform.directory)
        assert (none.returncode, "no checkpoint yet" in none.stderr) == (2, True)
        platform.adopt(FakeDevice(1))
        platform.anchor()
        other.adopt(FakeDevice(2), FakeDevice(3))
        other.anchor()
        paper = terang("head", "--data", platform.directory).stdout
        assert re.fullmatch(r"1\n(([a-z]+ ){3}[a-z]+\n){3}", paper)
        platform.adopt(FakeDevice(4))
        platform.anchor()
        kept, longer = tmp_path / "kept", tmp_path / "longer"
        assert terang("head", "--out", kept, "--data", platform.directory).returncode == 0
        platform.adopt(FakeDevice(5))
        longer.write_text(kept.read_text().replace("\n2\n", "\n7\n"))
        (tmp_path / "paper").write_text(paper)
        (tmp_path / "odd").write_bytes(b"\xff\xfe hello")
        for name, data, code, said in (
            ("kept", platform, 0, "still begins with exactly those 2 records"),
            ("paper", platform, 0, "still begins with exactly those 1 records"),
            ("kept", other, 1, "others than those"),
            ("paper", other, 1, "others than those"),
            ("longer", platform, 1, "shorter than the 7 records"),
            ("odd", platform, 2, "neither a checkpoint"),
        ):
            run = terang("head", "--compare", tmp_path / name, "--data", data.directory)
            assert (run.returncode, said in run.stdout + run.stderr) == (code, True), (name, run)


def test_an_audit_of_a_house_without_blocks(house: Path) -> None:
    """Acts stand in the log before the first block; the audit checks what there is and says what is missing."""
    run = terang("audit", "--data", house, "--json")
    answer = json.loads(run.stdout)
    assert run.returncode == (0 if answer["verified"] else 1)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "terang-proof-1"}', "not json"])
def test_what_is_no_proof_proves_nothing(tmp_path: Path, text: str) -> None:
    """A file that is no proof is refused in one line: exit code 1 or, where it is not JSON, 2."""
    path = tmp_path / "proof.json"
    path.write_text(text)
    run = terang("verify", path)
    assert run.returncode in (1, 2)
    assert "Traceback" not in run.stderr
