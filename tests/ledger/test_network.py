"""The files of a network: what engines document, and nothing that two houses share but the genesis."""

import json
import stat
import subprocess

import pytest
import rlp
from click.testing import CliRunner
from eth_account import Account

from terang.cli import terang
from terang.ledger.genesis import Genesis
from terang.ledger.network import NetworkPlan, network_files, qbft_extra_data
from terang.values.errors import SettingError, UsageError

ADDRESS = "0x" + "ab" * 20


def plan(**given):
    """A plan of three signers, with changes."""
    usual = {
        "engine": "geth",
        "hosts": ("10.0.0.1", "10.0.0.2", "10.0.0.3"),
        "chain_id": 77,
        "timestamp_s": 1_763_600_000,
        "period_s": 5,
        "funded": (bytes.fromhex("ab" * 20),),
    }
    return NetworkPlan(**{**usual, **given})


def test_geth_files():
    """The genesis names the signers whose keys lie in the folders, funds them and the committer; peers are named."""
    files = network_files(plan())
    genesis = Genesis.from_json(files["genesis.json"].text)
    addresses = set()
    for number in (1, 2, 3):
        keystore = json.loads(files[f"node{number}/keystore/signer.json"].text)
        key = Account.decrypt(keystore, files[f"node{number}/password"].text.strip())
        addresses.add(Account.from_key(key).address.lower())
        config = files[f"node{number}/config.toml"].text
        assert config.count("enode://") == 2
        assert f"@10.0.0.{number}:" not in config
        assert (
            f"--miner.etherbase 0x{keystore['address'].removeprefix('0x').lower()}"
            in files[f"node{number}/start.sh"].text
        )
    assert {"0x" + signer.hex() for signer in genesis.signers} == addresses
    assert {address.hex() for address in genesis.alloc} == {a[2:] for a in addresses} | {"ab" * 20}
    assert genesis.rules.period_s == 5


def test_besu_files():
    """QBFT as Besu documents it: validators in the extra data, the Byzantine mark, one key for node and validator."""
    files = network_files(plan(engine="besu", hosts=("127.0.0.1",) * 4))
    genesis = json.loads(files["genesis.json"].text)
    vanity, validators, vote, round_, seals = rlp.decode(bytes.fromhex(genesis["extraData"][2:]))
    assert (vanity, vote, round_, seals) == (bytes(32), [], b"", [])
    keys = [files[f"node{number}/key"].text.strip() for number in (1, 2, 3, 4)]
    assert {"0x" + address.hex() for address in validators} == {Account.from_key(key).address.lower() for key in keys}
    assert validators == sorted(validators)
    assert bytes.fromhex(genesis["mixHash"][2:]) == b"ctical byzantine fault tolerance"
    assert genesis["config"]["qbft"] == {"epochlength": 30_000, "blockperiodseconds": 5, "requesttimeoutseconds": 10}
    assert len(json.loads(files["static-nodes.json"].text)) == 4
    ports = {
        line
        for number in (1, 2, 3, 4)
        for line in files[f"node{number}/config.toml"].text.split("\n")
        if "port=" in line
    }
    assert len(ports) == 8


def test_the_extra_data_is_the_documented_one():
    """The form of the genesis in Besu's own documentation, with four validators."""
    found = qbft_extra_data([bytes([number]) * 20 for number in (1, 2, 3, 4)]).hex()
    head = "f87aa0" + "00" * 32 + "f854"
    assert found == head + "".join("94" + f"{number:02x}" * 20 for number in (1, 2, 3, 4)) + "c080c0"


@pytest.mark.parametrize(
    "change", [{"engine": "reth"}, {"hosts": ()}, {"engine": "besu"}, {"period_s": 0}, {"chain_id": 0}]
)
def test_what_cannot_work_is_refused(change):
    """No signers, an engine that nobody knows, three validators for QBFT: one clear sentence."""
    with pytest.raises(SettingError):
        plan(**change)


def test_the_command_writes_secrets_for_one_user_only(tmp_path):
    """Keys and passwords are 0600, scripts can be run and are sound shell; a second run touches nothing."""
    out = tmp_path / "network"
    words = ["chain", "network", "--out", str(out), "--fund", ADDRESS]
    assert CliRunner().invoke(terang, words).exit_code == 0
    for path in out.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_file() and path.name in ("signer.json", "password", "nodekey"):
            assert mode == 0o600, path
        if path.name == "start.sh":
            assert mode & stat.S_IXUSR
            assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert isinstance(CliRunner().invoke(terang, words).exception, UsageError)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    for wrong in (["--fund", "0x12"], ["--fund", "zz" * 20], ["--host", "10.0.0.1"]):
        result = CliRunner().invoke(terang, ["chain", "network", "--out", str(tmp_path / "other"), *wrong])
        assert isinstance(result.exception, UsageError)
        assert not (tmp_path / "other").exists()
