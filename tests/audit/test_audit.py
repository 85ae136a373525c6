"""One value changed by hand, anywhere: the audit names it. Nothing changed: it says nothing."""

import random
import resource
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.full_house import BEGIN, fill

from terang.kits.meter import KIT
from terang.testing import FakeDevice, MiniPlatform, audit_directory, moment
from terang.values.envelope import split, split_payload


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The directory of a small house, and its chain."""
    directory = tmp_path_factory.mktemp("original")
    platform = MiniPlatform(directory)
    fill(platform, 3_000, per=10)
    assert platform.audit().kept == []
    with platform.writer.transaction():  # one batch whose bytes the store has let go of
        begin, end = platform.writer.rows("SELECT old_size, new_size FROM batch ORDER BY id LIMIT 1")[0]
        platform.writer.release(begin, begin + 20)
    assert platform.audit().kept == []
    assert len(platform.writer.rows("SELECT * FROM batch")) >= 2
    assert platform.writer.rows("SELECT count(*) FROM tile")[0][0] >= 1
    platform.close()
    return directory, platform.chain, end


@pytest.fixture
def audit(original, tmp_path):
    """`audit(*sql)` runs these on a copy, and gives what an audit finds there."""

    def run(*statements, before=None):
        # a directory each time: what lies in a journal that is left over would be taken for the new copy's
        copy = Path(tempfile.mkdtemp(dir=tmp_path))
        for name in ("store.sqlite", "signing-state"):
            shutil.copy(original[0] / name, copy / name)
        with closing(sqlite3.connect(copy / "store.sqlite")) as db, db:
            for sql, *values in statements:
                assert db.execute(sql, values).rowcount == 1, sql
        if before is not None:
            before(copy)
        return audit_directory(copy, original[1], {"meter": KIT})

    return run


# table -> which row to alter, its columns, and the table that the finding names
ROWS = {
    "record": ("position = 40", "position kind leaf epoch_id sequence variant meter_id state reason", "record"),
    "held": ("position = 40", "position data", "record"),
    "user": ("id = 2", "id role", "user"),
    "room": ("id = 2", "id", "room"),
    "tenancy": ("id = 1", "id room_id user_id from_ms to_ms", "tenancy"),
    "placement": ("id = 1", "meter_id room_id from_ms to_ms", "placement"),
    "confirmation": ("meter_id = 1", "tenancy_id meter_id at_ms", "confirmation"),
    "reading": ("position = 40", "meter_id first_ms position last_ms count attested_by regular body", "reading"),
    "undated": ("1", "epoch_id position meter_id uptime_ms utc_ms attested_by body", "reading undated"),
    "hour": (
        "hour_ms = (SELECT max(hour_ms) FROM hour WHERE confirmed_mwh > 0 AND meter_id = 2) AND meter_id = 2",
        "meter_id hour_ms confirmed_mwh provisional_mwh power_sum_mw power_max_mw readings",
        "hour",
    ),
    "latest": (
        "meter_id = 2",
        (
            "meter_id time_ms received_ms position voltage_mv current_ma power_mw energy_mwh frequency_millihz"
            " power_factor_permille readings confirmed_mwh provisional_mwh regular state"
        ),
        "latest",
    ),
    "step": (
        "id = (SELECT min(id) FROM step)",
        "meter_id from_ms to_ms provisional_mwh reason counted_mwh decided_by decided_ms decided_in",
        "step",
    ),
    "lost": (
        "reads = 9",
        "position meter_id epoch first_sequence end_sequence from_uptime_ms to_uptime_ms at_ms reads reason",
        "lost",
    ),
    "tile": ('level = 8 AND "index" = 0', "level index hash", "tile"),
    "batch": (
        "id = 2",
        "old_size new_size root checkpoint bytes made_ms transaction_hash block_number block_hash transaction_index",
        "batch",
    ),
    "batch_held": ("old_size = (SELECT max(old_size) FROM batch)", "data proof", "batch"),
    "device": ("id = 1", "key_id public_key adopted_ms revoked_ms", "device"),
    "epoch": ("id = 1", "device_id epoch stored_end", "record epoch"),
    "meter": ("id = 2", "device_id address", "record"),
}
CASES = [(table, column) for table, (_, columns, _) in ROWS.items() for column in columns.split()]


def altered(value):
    """Something else of the same type; of another where there was nothing."""
    if value is None:
        return 7
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("x" if value[-1] != "x" else "y")
    middle = len(value) // 2
    return value[:middle] + bytes((value[middle] ^ 1,)) + value[middle + 1 :]


def one_value(original, table, column):
    """The value that is to be altered."""
    db = sqlite3.connect(original[0] / "store.sqlite")
    rows = db.execute(f'SELECT "{column}" FROM "{table}" WHERE {ROWS[table][0]}').fetchall()
    db.close()
    assert len(rows) == 1
    return rows[0][0]


@pytest.mark.parametrize(("table", "column"), CASES)
def test_one_altered_value_is_named(original, audit, table, column):
    """The same value a little different: the first finding names the table, and there are few others."""
    old, (where, _, names) = one_value(original, table, column), ROWS[table]
    try:
        findings = audit((f'UPDATE "{table}" SET "{column}"=? WHERE {where}', value := altered(old)))
    except sqlite3.IntegrityError:  # there is such a row: one further away
        findings = audit((f'UPDATE "{table}" SET "{column}"=? WHERE {where}', value := altered(old + 7_776)))
    assert findings.count, f"{table}.{column} = {value!r} went unseen"
    tables = {finding.table for finding in findings.kept}
    print(f"{table}.{column}: {findings.count} findings in {sorted(tables)}: {findings.kept[0]}")
    assert set(names.split()) & tables
    if table not in ("record", "epoch", "meter", "device", "held"):
        assert tables <= {*names.split(), *({"signing-state"} if column == "new_size" else ())}, findings.kept
        assert findings.kept[0].table in names.split()
    assert findings.count <= 12 or table in ("meter", "device", "epoch")


KINDS = ("text", b"\x00", 1.5, -1, None, 1 << 62)


@pytest.mark.parametrize(("table", "column"), CASES)
def test_a_value_of_another_kind_is_no_crash(original, audit, soak, table, column):
    """A text, bytes, a fraction, nothing, a huge or negative number, wherever the store lets it stand: named."""
    old = one_value(original, table, column)
    at = CASES.index((table, column))
    for value in [KINDS[(at + i) % len(KINDS)] for i in range(soak(len(KINDS), 1))]:
        if value == old or ((table, column) == ("record", "position") and value == 1 << 62):
            continue  # as it was, or a log that would seem to have 2**62 records
        try:
            findings = audit((f'UPDATE "{table}" SET "{column}"=? WHERE {ROWS[table][0]}', value))
        except sqlite3.Error:
            continue  # the store refuses it
        assert findings.count, f"{table}.{column} = {value!r} instead of {old!r} went unseen"


@pytest.mark.parametrize("table", list(ROWS))
def test_a_deleted_row_is_named(audit, table):
    """A row less: named."""
    where, _, names = ROWS[table]
    findings = audit((f'DELETE FROM "{table}" WHERE {where}',))
    if table in ("held", "batch_held"):
        assert findings.count == 0  # the chain has these bytes, and the store may let go of them
        return
    assert findings.count
    print(f"{table}: {findings.count}: {findings.kept[:2]}")
    assert set(names.split()) & {finding.table for finding in findings.kept} or table in ("epoch", "meter")


INSERTED = {
    "user": "INSERT INTO user VALUES(9, 'eve', '$argon2id$x', 'owner', 'en', 1)",
    "room": "INSERT INTO room VALUES(9, 'attic')",
    "tenancy": "INSERT INTO tenancy VALUES(9, 1, 2, 5, NULL)",
    "placement": "INSERT INTO placement VALUES(9, 1, 1, 5, NULL)",
    "confirmation": "INSERT INTO confirmation VALUES(1, 1, 5)",
    "record": "INSERT INTO record SELECT (SELECT max(position)+1 FROM record), kind, leaf, received_ms, epoch_id,"
    " 99999, variant, meter_id, state, reason FROM record WHERE position=40",
    "reading": "INSERT INTO reading SELECT meter_id, first_ms+1, position, last_ms+1, count, attested_by, regular, body"
    " FROM reading WHERE position=40",
    "undated": "INSERT INTO undated SELECT epoch_id, 41, meter_id, uptime_ms, utc_ms, attested_by, body FROM undated",
    "hour": "INSERT INTO hour VALUES(1, 0, 5, 0, 0, 0, 0)",
    "latest": "INSERT INTO latest SELECT 77, time_ms, received_ms, position, voltage_mv, current_ma, power_mw,"
    " energy_mwh, frequency_millihz, power_factor_permille, readings, confirmed_mwh, provisional_mwh, regular,"
    " state FROM latest"
    " WHERE meter_id=1",
    "step": "INSERT INTO step(meter_id, from_ms, to_ms, provisional_mwh, reason) VALUES(1, 5, 9, 100, 'fall')",
    "lost": "INSERT INTO lost SELECT 40, meter_id, epoch, first_sequence, end_sequence, from_uptime_ms, to_uptime_ms,"
    " at_ms, reads, reason FROM lost WHERE reads=9",
    "tile": 'INSERT INTO tile SELECT level, "index"+50, hash FROM tile WHERE "index"=0',
    "batch": "INSERT INTO batch(old_size, new_size, root, checkpoint, bytes, made_ms) SELECT max(new_size),"
    " max(new_size)+1, root, checkpoint, bytes, made_ms FROM batch",
    "device": "INSERT INTO device(name, key_id, public_key, mqtt_password_hash, adopted_ms)"
    " VALUES('x', x'00', x'00', '', 0)",
}


@pytest.mark.parametrize("table", list(INSERTED))
def test_a_row_slipped_in_is_named(audit, table):
    """A row more: named."""
    findings = audit((INSERTED[table],))
    assert findings.count
    print(f"{table}: {findings.count}: {findings.kept[:2]}")
    assert findings.kept[0].table == table or table == "undated"


@pytest.mark.parametrize("text", ["", "5", "5 " + "00" * 32, "999999 " + "00" * 32, "-1 " + "00" * 32])
def test_an_altered_signing_state_is_named(audit, text):
    """The file outside the store: another root, another size, torn or gone."""
    findings = audit(before=lambda path: (path / "signing-state").write_text(text))
    assert [finding.table for finding in findings.kept] == ["signing-state"]


def test_a_missing_or_older_signing_state_is_named(audit, original):
    """Without the file nobody knows what was signed; an older copy knows too little."""
    findings = audit(before=lambda path: (path / "signing-state").unlink())
    assert [finding.table for finding in findings.kept] == ["signing-state"]
    root = one_value(original, "batch", "root").hex()
    findings = audit(before=lambda path: (path / "signing-state").write_text(f"{original[2]} {root}\n"))
    assert [finding.table for finding in findings.kept] == ["signing-state"]


def test_the_last_batch_deleted_is_named(audit):
    """It was signed, and no row holds it: the signing state and the chain know better."""
    findings = audit(
        ("DELETE FROM batch WHERE id=(SELECT max(id) FROM batch)",),
        ("DELETE FROM batch_held WHERE old_size=(SELECT max(old_size) FROM batch_held)",),
    )
    assert {finding.table for finding in findings.kept} == {"epoch", "batch"}


def test_a_reading_replaced_everywhere_is_named(original, audit):
    """Record, leaf and reading made to agree with each other, under a stranger's signature or none: named as unsigned,
    and the root that was signed does not hold.
    """
    stranger = FakeDevice(9)
    stranger.id = FakeDevice(2).id
    data = stranger.readings([moment(1)], utc_ms=BEGIN)
    findings = audit(
        ("UPDATE held SET data=? WHERE position=40", data),
        ("UPDATE record SET leaf=? WHERE position=40", stranger.previous),
    )
    assert findings.kept[0].table == "record"
    assert "signed" in findings.kept[0].detail
    assert any("root" in finding.detail for finding in findings.kept)


def test_readings_made_to_look_implausible_are_named(audit):
    """The verdict rests on signed bytes alone: no time of arrival can turn a good record into one that is set aside."""
    findings = audit(
        ("UPDATE record SET received_ms = received_ms - 200000000, state=1, reason='time: ahead' WHERE position=40",),
        ("DELETE FROM reading WHERE position=40",),
    )
    assert "record" in {finding.table for finding in findings.kept}


def test_readings_made_to_look_forked_are_named(audit):
    """A second envelope of one number needs a first."""
    findings = audit(
        ("UPDATE record SET variant=1, state=2, reason=NULL WHERE position=40",),
        ("DELETE FROM reading WHERE position=40",),
    )
    assert any("no first" in finding.detail for finding in findings.kept)


MADE_UNDATED = (
    "INSERT INTO undated SELECT r.epoch_id, g.position, g.meter_id, 0, g.first_ms, g.attested_by, g.body"
    " FROM reading g JOIN record r ON r.position = g.position WHERE g.position=40"
)


def test_readings_made_undated_are_named(original, audit):
    """What was dated once cannot be put back among those that wait for a date."""
    findings = audit(
        (MADE_UNDATED,),
        ("DELETE FROM reading WHERE position=40",),
        before=lambda path: right_uptime(path, original),
    )
    assert any(finding.table == "undated" for finding in findings.kept)


def right_uptime(directory, original):
    """Give the row that was made up the uptime that was signed, as an administrator would."""
    with closing(sqlite3.connect(original[0] / "store.sqlite")) as db:
        (data,) = db.execute("SELECT data FROM held WHERE position=40").fetchone()
    fields = split_payload(split(data)[0])[0]
    with closing(sqlite3.connect(directory / "store.sqlite")) as db, db:
        db.execute("UPDATE undated SET uptime_ms=? WHERE position=40", (fields[7],))


def test_a_chain_that_is_gone_is_named(original, tmp_path):
    """The store names a contract, and nothing answers for it."""
    for name in ("store.sqlite", "signing-state"):
        shutil.copy(original[0] / name, tmp_path / name)
    findings = audit_directory(tmp_path, None, {"meter": KIT})
    assert findings.kept[0].table == "chain"


@pytest.mark.parametrize("contract", ["00" * 20, "zz", "11" * 20])
def test_another_contract_is_named(audit, contract):
    """The contract that the store names must be the one that took the batches."""
    findings = audit(("UPDATE site SET value=? WHERE key='contract'", contract))
    assert findings.count
    assert {finding.table for finding in findings.kept} <= {"chain", "batch"}


def test_batches_that_are_said_not_to_be_anchored_are_named(audit):
    """The contract knows better."""
    gone = "block_hash=NULL, block_number=NULL, transaction_index=NULL, anchored_ms=NULL"
    findings = audit((f"UPDATE batch SET {gone} WHERE id=(SELECT max(id) FROM batch)",))
    assert any("stand on the chain" in finding.detail for finding in findings.kept)


def test_an_older_store_beside_a_newer_chain_is_named(tmp_path):
    """Store and signing state put back from yesterday: the contract holds records that are gone."""
    with MiniPlatform(tmp_path) as platform:
        device = FakeDevice(1)
        platform.adopt(device)
        platform.take(device.event("start"))
        platform.anchor()
        copy = tmp_path / "yesterday"
        copy.mkdir()
        platform.writer.checkpoint()
        for name in ("store.sqlite", "signing-state"):
            shutil.copy(tmp_path / name, copy / name)
        assert audit_directory(copy, platform.chain, {"meter": KIT}).count == 0
        platform.take(device.event("more"))
        platform.anchor()
        findings = audit_directory(copy, platform.chain, {"meter": KIT})
        assert any("an older copy" in finding.detail for finding in findings.kept)


def peak_mb():
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def size_mb(directory: Path):
    """What the store takes on disk."""
    return sum(path.stat().st_size for path in directory.glob("store.sqlite*")) / 2**20


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("per", [60, 1])
def test_an_audit_of_many_readings(tmp_path, soak, per):
    """A million readings in envelopes of 60 (and some of 1), and of 1 only: unaltered nothing is found; one value in
    each table is; the time and the memory are printed.
    """
    n = soak(1_000_000, 20_000 if per > 1 else 4_000)
    platform = MiniPlatform(tmp_path)
    begun = time.perf_counter()
    fill(platform, n, per=per)
    filled_s = time.perf_counter() - begun
    before = peak_mb()
    begun = time.perf_counter()
    assert platform.audit().kept == []
    spent = time.perf_counter() - begun
    records = platform.log.size()
    print(
        f"{n} readings in {records} records: filled in {filled_s:.1f} s, {size_mb(tmp_path):.0f} MB, audited in"
        f" {spent:.1f} s, at most {peak_mb():.0f} MB ({peak_mb() - before:.0f} more than before)"
    )
    r = random.Random(1)
    for table, column in [("reading", "body"), ("hour", "confirmed_mwh"), ("latest", "energy_mwh"), ("held", "data")]:
        rows = platform.writer.rows(f'SELECT count(*) FROM "{table}"')[0][0]
        key = {"reading": "position", "hour": "hour_ms", "latest": "meter_id", "held": "position"}[table]
        at = r.randrange(rows)
        row, old = platform.writer.rows(f'SELECT "{key}", "{column}" FROM "{table}" LIMIT 1 OFFSET ?', (at,))[0]
        where = f'UPDATE "{table}" SET "{column}"=? WHERE "{key}"=?'
        extra = "" if table != "hour" else " AND meter_id=(SELECT min(meter_id) FROM hour WHERE hour_ms=?)"
        keys = (row,) if table != "hour" else (row, row)
        if table == "hour":
            old = platform.writer.rows(
                "SELECT confirmed_mwh FROM hour WHERE hour_ms=? ORDER BY meter_id LIMIT 1", (row,)
            )[0][0]
        for value, count in ((altered(old), 1), (old, 0)):
            with platform.writer.transaction():
                platform.writer.execute(where + extra, (value, *keys))
            found = platform.audit()
            assert (found.count > 0) == bool(count)
            if count:
                assert found.kept[0].table == {"held": "record"}.get(table, table)
                assert found.count <= 3, found.kept[:5]
    platform.close()
