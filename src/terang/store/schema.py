"""Every table of the store, in SQLAlchemy Core: the one place that says what is kept and why."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from terang.values.record import ACT

__all__ = [
    "ACCEPTED",
    "FORKED",
    "IMPLAUSIBLE",
    "STATES",
    "batch",
    "batch_held",
    "confirmation",
    "device",
    "epoch",
    "held",
    "hour",
    "latest",
    "lost",
    "metadata",
    "meter",
    "notice",
    "placement",
    "quarantine",
    "reading",
    "record",
    "refusal",
    "room",
    "site",
    "step",
    "tenancy",
    "tile",
    "undated",
    "user",
]

ACCEPTED = 0
IMPLAUSIBLE = 1
FORKED = 2
STATES = ("accepted", "implausible", "forked")

metadata = MetaData()

site = Table("site", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

user = Table(
    "user",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("session_version", Integer, nullable=False),
)

room = Table(
    "room", metadata, Column("id", Integer, primary_key=True), Column("name", Text, nullable=False, unique=True)
)

tenancy = Table(
    "tenancy",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("room_id", ForeignKey("room.id"), nullable=False),
    Column("user_id", ForeignKey("user.id"), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger),
)

device = Table(
    "device",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("key_id", LargeBinary, nullable=False, unique=True),  # what the protocol calls device: 16 bytes
    Column("public_key", LargeBinary, nullable=False),
    Column("mqtt_password_hash", Text, nullable=False),
    Column("adopted_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Column("revoke_reason", Text),
    Column("last_seen_ms", BigInteger),
)

meter = Table(
    "meter",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("device_id", ForeignKey("device.id"), nullable=False),
    Column("address", Integer, nullable=False),
    Column("kit", Text, nullable=False),
    UniqueConstraint("device_id", "address"),
)

placement = Table(
    "placement",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("meter_id", ForeignKey("meter.id"), nullable=False),
    Column("room_id", ForeignKey("room.id"), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger),
)

# A tenant has compared the code on the meter's box with the page's, and both were the same.
confirmation = Table(
    "confirmation",
    metadata,
    Column("tenancy_id", ForeignKey("tenancy.id"), primary_key=True),
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
)

epoch = Table(
    "epoch",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("device_id", ForeignKey("device.id"), nullable=False),
    Column("epoch", LargeBinary, nullable=False),
    Column("stored_end", BigInteger, nullable=False),
    Column("anchored_end", BigInteger, nullable=False),
    Column("from_utc_ms", BigInteger),  # the earliest and latest dated reading: two epochs that overlap are an alarm
    Column("to_utc_ms", BigInteger),
    Column("fix_uptime_ms", BigInteger),  # the time record that dates this epoch's undated readings
    Column("fix_utc_ms", BigInteger),
    UniqueConstraint("device_id", "epoch"),
)

# One row for each leaf of the log; position is the leaf's index. Its bytes stand in `held` until the chain has had them
# for long enough; the leaf hash stays for ever.
record = Table(
    "record",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", Integer, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("epoch_id", ForeignKey("epoch.id")),
    Column("sequence", BigInteger),
    Column("variant", Integer),  # 0, or 1 for a second envelope with the same identity and other bytes
    Column("meter_id", ForeignKey("meter.id")),
    Column("state", Integer, nullable=False),
    Column("reason", Text),
    Index("record_identity", "epoch_id", "sequence", "variant", unique=True),
)

Index("record_refused", record.c.meter_id, record.c.position, sqlite_where=record.c.state != ACCEPTED)

# What the platform stated: few among millions, and every proof asks for some.
Index("record_act", record.c.position, sqlite_where=record.c.kind == ACT)

# The exact signed bytes of records. A table of its own, because a deleted row gives its page back and a column set to
# NULL in the middle of a growing table does not (measured: 487 against 180 bytes a reading in the long run).
held = Table(
    "held",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

# One row for each accepted envelope with readings: `body` is the columns exactly as they were signed.
reading = Table(
    "reading",
    metadata,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("first_ms", BigInteger, primary_key=True),
    Column("position", ForeignKey("record.position"), primary_key=True),
    Column("last_ms", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("attested_by", Integer, nullable=False),
    Column("regular", Integer, nullable=False),  # whether folding may be taken up again after the last reading
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

undated = Table(
    "undated",
    metadata,
    Column("epoch_id", ForeignKey("epoch.id"), primary_key=True),
    Column("position", ForeignKey("record.position"), primary_key=True),
    Column("meter_id", ForeignKey("meter.id"), nullable=False),
    Column("uptime_ms", BigInteger, nullable=False),
    Column("utc_ms", BigInteger),  # what was signed, where our own clock does not believe it yet
    Column("attested_by", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

latest = Table(
    "latest",
    metadata,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("voltage_mv", BigInteger),
    Column("current_ma", BigInteger),
    Column("power_mw", BigInteger),
    Column("energy_mwh", BigInteger),
    Column("frequency_millihz", BigInteger),
    Column("power_factor_permille", BigInteger),
    Column("readings", BigInteger, nullable=False),
    Column("confirmed_mwh", BigInteger, nullable=False),
    Column("provisional_mwh", BigInteger, nullable=False),
    Column("regular", Integer, nullable=False),
    Column("state", LargeBinary, nullable=False),  # the kit's fold state, as a CBOR typed array
)

hour = Table(
    "hour",
    metadata,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("hour_ms", BigInteger, primary_key=True),
    Column("confirmed_mwh", BigInteger, nullable=False),
    Column("provisional_mwh", BigInteger, nullable=False),
    Column("power_sum_mw", BigInteger, nullable=False),
    Column("power_max_mw", BigInteger, nullable=False),
    Column("readings", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

step = Table(
    "step",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("meter_id", ForeignKey("meter.id"), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("provisional_mwh", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("counted_mwh", BigInteger),
    Column("decided_by", Text),
    Column("decided_ms", BigInteger),
    Column("decided_in", ForeignKey("record.position")),  # the act that says so
    UniqueConstraint("meter_id", "from_ms", "to_ms", "reason"),
)

lost = Table(
    "lost",
    metadata,
    Column("position", ForeignKey("record.position"), primary_key=True),
    Column("meter_id", ForeignKey("meter.id"), nullable=False),
    Column("epoch", LargeBinary, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("end_sequence", BigInteger, nullable=False),
    Column("from_uptime_ms", BigInteger, nullable=False),
    Column("to_uptime_ms", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("reads", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)

notice = Table(
    "notice",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("cause", Text, nullable=False, unique=True),  # the idempotency key: one cause, one notice
    Column("meter_id", ForeignKey("meter.id")),
    Column("values", Text, nullable=False),
    Column("seen_ms", BigInteger),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("device", LargeBinary),
    Column("size", Integer, nullable=False),
    Column("head", LargeBinary, nullable=False),
)

refusal = Table(
    "refusal", metadata, Column("reason", Text, primary_key=True), Column("count", BigInteger, nullable=False)
)

batch = Table(
    "batch",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("old_size", BigInteger, nullable=False, unique=True),
    Column("new_size", BigInteger, nullable=False, unique=True),
    Column("root", LargeBinary, nullable=False),
    Column("checkpoint", Text, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
    Column("transaction_hash", LargeBinary),
    Column("block_number", BigInteger),
    Column("block_hash", LargeBinary),
    Column("transaction_index", Integer),
    Column("anchored_ms", BigInteger),
)
# A year has half a million batches; which of them are open is asked every second and must not look at all of them.
Index("batch_open", batch.c.old_size, sqlite_where=batch.c.block_hash.is_(None))

# What is needed to send a batch, again too, until the chain has held it for long enough.
batch_held = Table(
    "batch_held",
    metadata,
    Column("old_size", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("proof", LargeBinary, nullable=False),
    Column("raw_transaction", LargeBinary),  # after any doubt the same bytes are sent again
)

# Hashes of complete subtrees of 256, 65,536, ... leaves: with them a path at a million records needs few reads.
tile = Table(
    "tile",
    metadata,
    Column("level", Integer, primary_key=True),
    Column("index", BigInteger, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
