"""The store's file: one writer, all or nothing, bounded, and migrated to what the tables say."""

import sqlite3

import pytest
from sqlalchemy import create_engine, inspect

from terang.store.connection import WriterLock, open_for_reading
from terang.store.log_reader import LogReader
from terang.store.schema import metadata
from terang.store.writer import StoreWriter
from terang.values.errors import StoreError, StoreInUse


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "store.sqlite"


@pytest.fixture
def writer(path):
    made = StoreWriter(path)
    yield made
    made.close()


def record(position, **given):
    """A row of table record."""
    values = {"kind": 1, "leaf": bytes(32), "received_ms": 5, "epoch_id": 1, "sequence": position, "variant": 0}
    values |= {"meter_id": 1, "state": 0, "reason": None} | given
    return (position, *values.values())


def test_the_migrations_make_the_tables_of_the_schema(writer, path):
    """Tables, columns, their nullability, and indexes: what the first file has is what the schema says."""
    made, wanted = inspect(create_engine(f"sqlite:///{path}")), create_engine("sqlite://")
    metadata.create_all(wanted)
    asked = inspect(wanted)
    assert set(made.get_table_names()) - {"alembic_version"} == set(asked.get_table_names())
    for table in asked.get_table_names():
        columns = [
            [(c["name"], str(c["type"]), c["nullable"]) for c in view.get_columns(table)] for view in (made, asked)
        ]
        assert columns[0] == columns[1], table
        indexes = [
            sorted((i["name"], i["column_names"], i["unique"]) for i in view.get_indexes(table))
            for view in (made, asked)
        ]
        assert indexes[0] == indexes[1], table


def test_commits_survive_a_power_cut_by_their_settings(writer):
    """WAL and synchronous FULL, asked of the connection that writes."""
    assert writer.rows("PRAGMA journal_mode") == [("wal",)]
    assert writer.rows("PRAGMA synchronous") == [(2,)]


def test_there_is_one_writer(writer, path):
    """A second one is refused and told who has it; after the first has closed it may."""
    with pytest.raises(StoreInUse, match="process"):
        StoreWriter(path)
    with pytest.raises(StoreInUse):
        WriterLock(path)
    writer.close()
    again = StoreWriter(path)
    again.close()


@pytest.mark.parametrize("fault", [ValueError("x"), KeyboardInterrupt(), sqlite3.OperationalError("x")])
def test_a_transaction_is_all_or_nothing(writer, fault):
    """Whatever is raised inside, nothing stands; a database error comes out as StoreError."""

    def interrupted():
        with writer.transaction():
            writer.add_records([record(0)])
            raise fault

    with pytest.raises(StoreError if isinstance(fault, sqlite3.Error) else type(fault)):
        interrupted()
    assert writer.next_position() == 0
    with writer.transaction():
        writer.add_records([record(0)])
    assert writer.next_position() == 1


def test_an_identity_is_used_up_once(writer):
    """(epoch, sequence, variant) is unique, and so is a position: the store itself refuses a second one."""
    with writer.transaction():
        writer.add_records([record(0), record(1, sequence=0, variant=1)])
    for row in (record(2, sequence=0), record(1, sequence=9)):
        with pytest.raises(StoreError), writer.transaction():
            writer.add_records([row])
    assert sorted(writer.find_identity(1, 0)) == [(bytes(32), 0), (bytes(32), 1)]


def test_hourly_sums_add_up_and_a_maximum_never_falls(writer):
    """Differences are added, negative ones too; the maximum is the most there was."""
    with writer.transaction():
        writer.add_hours([(1, 0, 5, 7, 100, 50, 1)])
        writer.add_hours([(1, 0, -2, -7, 20, 30, 1), (1, 3_600_000, 1, 0, 0, 0, 1)])
    assert writer.rows("SELECT * FROM hour ORDER BY hour_ms") == [
        (1, 0, 3, 0, 120, 50, 2),
        (1, 3_600_000, 1, 0, 0, 0, 1),
    ]


def test_a_cause_makes_one_notice(writer):
    """The same cause again changes nothing."""
    with writer.transaction():
        writer.add_notices([(1, "a", "a/1", None, "{}"), (2, "a", "a/1", None, "{}"), (2, "a", "a/2", None, "{}")])
    assert writer.rows("SELECT at_ms, cause FROM notice") == [(1, "a/1"), (2, "a/2")]


def test_readers_read_beside_the_writer_and_cannot_write(writer, path):
    """A reader sees what was committed and no more, waits for nobody, and may not write."""
    db = open_for_reading(path)
    with writer.transaction():
        writer.add_records([record(0)])
        assert db.execute("SELECT count(*) FROM record").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM record").fetchone() == (1,)
    with pytest.raises(sqlite3.OperationalError):
        db.execute("DELETE FROM record")
    db.close()


def test_a_store_that_is_not_there_or_none_is_a_clear_error(tmp_path):
    """No file, or a file that is no database: StoreError, and no empty store is made in its place."""
    with pytest.raises(StoreError, match="there is no store"):
        LogReader(tmp_path / "store.sqlite")
    assert not (tmp_path / "store.sqlite").exists()
    (tmp_path / "store.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError):
        StoreWriter(tmp_path / "store.sqlite")
    reader = LogReader(tmp_path / "store.sqlite")
    with pytest.raises(StoreError):
        reader.size()
    reader.close()


def test_holes_in_the_log_are_not_read_over(writer, path):
    """A missing record or tile between others is StoreError, never the wrong hash at a place."""
    with writer.transaction():
        writer.add_records([record(i, leaf=bytes((i,)) * 32) for i in (0, 1, 3)])
        writer.save_tiles([(8, 0, b"a"), (8, 2, b"c")])
    reader = LogReader(path)
    assert reader.leaves(0, 2) == [bytes(32), b"\x01" * 32]
    for ask in (
        lambda: reader.leaves(0, 4),
        lambda: reader.leaves(2, 4),
        lambda: reader.tiles(8, 0, 9),
        lambda: reader.tiles(8, 1, 9),
    ):
        with pytest.raises(StoreError, match="missing"):
            ask()
    assert reader.tiles(8, 0, 2) == [b"a"]
    reader.close()
