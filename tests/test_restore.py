"""A house whose directory is gone comes back from its chain and a backup: every record, every sum, every name."""

from dataclasses import replace

import pytest
from click.testing import CliRunner
from tests.full_house import fill

from terang.backup import open_backup, take_backup
from terang.cli import terang
from terang.ledger.batch import decode, encode
from terang.ledger.contract import decode_anchor_call, encode_anchor_call
from terang.restore import anchors_of, restore_log
from terang.serve.pages import Pages
from terang.settings import Settings
from terang.testing import FakeDevice, MiniPlatform, moment
from terang.values.errors import ChainCorrupt, LedgerError, SignatureError, TerangError, UsageError
from terang.values.signing import KeyPair

PHRASE = "a long pass-phrase"
# table -> what must be the same afterwards; when a record came is not on the chain
SAME = {
    "record": "position, kind, leaf, epoch_id, sequence, variant, meter_id, state, reason",
    "held": "*",
    "reading": "meter_id, first_ms, position, last_ms, count, attested_by, body",
    "undated": "*",
    "hour": "*",
    "step": "*",
    "lost": "position, meter_id, epoch, first_sequence, end_sequence, from_uptime_ms, to_uptime_ms, reads, reason",
    "latest": "meter_id, time_ms, position, voltage_mv, energy_mwh, readings, confirmed_mwh, provisional_mwh, state",
    "epoch": "*",
    "meter": "*",
    "user": "*",
    "room": "*",
    "tenancy": "*",
    "placement": "*",
    "confirmation": "*",
    "device": "*",
    "tile": "*",
    "batch": "old_size, new_size, root, bytes, transaction_hash, block_number, block_hash, transaction_index",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A house of which everything is anchored."""
    directory = tmp_path_factory.mktemp("house")
    with MiniPlatform(directory) as platform:
        fill(platform, 3_000, per=10)
        (directory / "keys").mkdir()
        (directory / "keys" / "platform.key").write_text("11" * 32)
        yield platform


def backup_of(platform):
    """An opened backup of a platform."""
    pages = Pages(platform.log, platform.chain, platform.clock)
    sealed = take_backup(Settings(data=platform.directory), pages, platform.clock.now_ms(), PHRASE)
    return open_backup(sealed, PHRASE)


def restored(directory, platform, **given):
    """A new platform in an empty directory, restored from this one's chain."""
    made = MiniPlatform(directory, chain=given.pop("chain", platform.chain))
    backup = backup_of(platform)
    try:
        restore_log(
            anchors_of(made.chain, made.chain.contract, given.pop("site", made.site)),
            pipeline=made.pipeline,
            log=made.log,
            checkpoint_key=made.checkpoint_key,
            site=made.site,
            unsaid=backup.unsaid,
            progress=lambda _: None,
        )
        with made.writer.transaction():
            backup.give_names(made.writer)
        newest = made.log.batches()[-1]
        made.signing_state_path.write_text(f"{newest.new_size} {newest.root.hex()}\n")
    except BaseException:
        made.close()
        raise
    return made


def test_everything_comes_back(house, tmp_path):
    """Every table that is derived from the log is the same, and an audit of what came back finds nothing."""
    made = restored(tmp_path, house)
    for table, columns in SAME.items():
        ask = f'SELECT {columns} FROM "{table}" ORDER BY 1, 2'
        ours, theirs = house.writer.rows(ask), made.writer.rows(ask)
        assert len(ours) > 0, table
        if table == "held":  # the house has let go of some, the chain gives all of them
            assert set(ours) <= set(theirs)
        else:
            assert theirs == ours, table
    assert made.audit().kept == []
    made.close()


def test_a_restored_house_goes_on(house, tmp_path):
    """The same devices go on where they were, and what they send again is a duplicate."""
    made = restored(tmp_path, house)
    before = made.log.size()
    device = FakeDevice(9)
    made.adopt(device)
    made.take(device.readings([moment(5)], utc_ms=made.clock.now_ms()))
    held = made.writer.rows("SELECT data FROM held h JOIN record r ON r.position = h.position WHERE r.kind=1 LIMIT 5")
    again = made.take_all(row[0] for row in held)
    assert (again.accepted, again.duplicate) == (0, 5)
    assert made.log.size() == before + 2
    chain_before = made.chain.heads[made.site].size
    assert chain_before == before
    made.close()


class Altered:
    """A chain that gives another calldata for one transaction."""

    def __init__(self, chain, change):
        self._chain, self._change = chain, change
        self.contract = chain.contract

    def __getattr__(self, name):
        return getattr(self._chain, name)

    def transaction(self, tx_hash):
        call = decode_anchor_call(self._chain.transaction(tx_hash))
        return encode_anchor_call(self._change(call))


def change_record(call):
    """One byte of one signed record, everything else as it was."""
    items = decode(call.data)
    last = items[-1]
    items[-1] = last._replace(data=last.data[:-1] + bytes((last.data[-1] ^ 1,)))
    return replace(call, data=encode(items))


def drop_record(call):
    """One record less."""
    return replace(call, data=encode(decode(call.data)[:-1]))


def swap_records(call):
    """Two records in the other order."""
    items = decode(call.data)
    items[3], items[4] = items[4], items[3]
    return replace(call, data=encode(items))


@pytest.mark.parametrize("change", [change_record, drop_record, swap_records])
def test_a_chain_that_is_not_what_its_roots_say_is_refused(house, tmp_path, change):
    """An altered, a missing, a swapped record: named, and no house is made of it."""
    with pytest.raises((LedgerError, SignatureError)):
        restored(tmp_path, house, chain=Altered(house.chain, change))


def test_another_root_is_refused(house, tmp_path):
    """What the event says and what the calldata says must be one."""
    with pytest.raises(ChainCorrupt, match="continue the log"):
        restored(tmp_path, house, chain=Altered(house.chain, lambda call: replace(call, root=bytes(32))))


def test_another_platform_s_key_is_refused(house, tmp_path):
    """Acts of the log are signed with the platform's key; with another the first of them is refused."""
    made = MiniPlatform(tmp_path, chain=house.chain)
    made.pipeline.key = KeyPair(b"\x77" * 32)
    with pytest.raises(TerangError):
        restore_log(
            anchors_of(made.chain, made.chain.contract, made.site),
            pipeline=made.pipeline,
            log=made.log,
            checkpoint_key=made.checkpoint_key,
            site=made.site,
            unsaid=backup_of(house).unsaid,
            progress=lambda _: None,
        )
    made.close()


def test_a_backup_says_nothing_without_its_phrase(house):
    """Wrong phrase, every altered byte, a cut file, another file: refused in one sentence."""
    pages = Pages(house.log, house.chain, house.clock)
    sealed = take_backup(Settings(data=house.directory), pages, 5, PHRASE)
    assert b"platform" not in sealed
    assert b"budi" not in sealed
    opened = open_backup(sealed, PHRASE)
    assert opened.files["keys/platform.key"] == "11" * 32
    assert opened.size == house.log.size()
    for wrong in (sealed[:-1], sealed[:30], b"", b"TRGK\x02" + sealed[5:], b"PK" + sealed):
        with pytest.raises(UsageError):
            open_backup(wrong, PHRASE)
    for at in (8, 30, len(sealed) - 1):
        with pytest.raises(UsageError, match="does not open"):
            open_backup(sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :], PHRASE)
    with pytest.raises(UsageError, match="does not open"):
        open_backup(sealed, PHRASE + "!")
    with pytest.raises(UsageError, match="10 characters"):
        take_backup(Settings(data=house.directory), pages, 5, "short")


def test_backup_and_restore_refuse_to_overwrite(tmp_path):
    """An existing file or directory is never touched; without a chain nothing is done."""
    (tmp_path / "there").mkdir()
    (tmp_path / "phrase").write_text(PHRASE)
    (tmp_path / "no.trgk").write_bytes(b"no")
    run = CliRunner()
    words = ["restore", "--keys", str(tmp_path / "no.trgk"), "--passphrase-file", str(tmp_path / "phrase")]
    for more in (
        ["--into", str(tmp_path / "there"), "--rpc", "http://127.0.0.1:1"],
        ["--into", str(tmp_path / "new")],
        ["--into", str(tmp_path / "new"), "--rpc", "http://127.0.0.1:1"],
    ):
        result = run.invoke(terang, [*words, *more])
        assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "there").iterdir()) == []
