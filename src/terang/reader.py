"""What the pages ask of the store, and in what form they want the answer.

Times are UTC milliseconds, measured values integers in milli-units, None where nothing is known: a page never draws
an unknown as zero. A meter's id is the store's own small number, the one that live messages carry too.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = [
    "BatchRow",
    "Delivered",
    "DeviceRow",
    "Gap",
    "HourRow",
    "KeptHead",
    "Latest",
    "LedgerState",
    "Loss",
    "MeterRef",
    "NoticeRow",
    "Proof",
    "ReadingRow",
    "RecordDetail",
    "RefusedRow",
    "Room",
    "Series",
    "Site",
    "Source",
    "StepRow",
    "Tenancy",
    "Used",
    "User",
    "Witnessed",
]

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The house. `time_zone` is an IANA name (Asia/Jakarta), `language` id or en, `site_id` hex."""

    name: str
    time_zone: str
    language: str
    site_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who may log in. `role` is owner or tenant; a new `session_version` ends every session before it."""

    id: int
    name: str
    password_hash: str
    role: str
    language: str
    session_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterRef:
    """A meter of a room: its device (32 hex digits) and the address there.

    It measured this room from `from_ms` (0: from the beginning) up to but not including `to_ms` (None: it still does).
    Of its past everything else is another room's. The hour in which a meter moves stays with the room that it left.
    `confirmed_ms` is when who lives there now compared the code on its box; None while they have not.
    """

    id: int
    device: str
    address: int
    kit: str
    from_ms: int = 0
    to_ms: int | None = None
    confirmed_ms: int | None = None

    def within(self, from_ms: int, to_ms: int) -> tuple[int, int]:
        """The part of the span in which it measured this room; an empty one has its end before its beginning."""
        return max(from_ms, self.from_ms), to_ms if self.to_ms is None else min(to_ms, self.to_ms)

    def hours_within(self, from_ms: int, to_ms: int) -> tuple[int, int]:
        """The same for sums over the hours that begin in the span."""
        first = -(-self.from_ms // _HOUR_MS) * _HOUR_MS
        end = None if self.to_ms is None else -(-self.to_ms // _HOUR_MS) * _HOUR_MS
        return max(from_ms, first), to_ms if end is None else min(to_ms, end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenancy:
    """Who lives in a room, since when."""

    user_id: int
    user_name: str
    from_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A room that is let, with its tenancy of now, its meters of now, and those that measured it before."""

    id: int
    name: str
    tenancy: Tenancy | None
    meters: tuple[MeterRef, ...]
    past: tuple[MeterRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """What is known last of one meter.

    `time_ms` is the newest dated reading's own time, `received_ms` when the newest accepted envelope came, both None
    before the first. `implausible_ms` is when the newest implausible envelope of this meter came, None if never: a page
    says so when that is later than `received_ms`. Totals are the register's, since the meter was placed.
    """

    time_ms: int | None
    received_ms: int | None
    implausible_ms: int | None = None
    voltage_mv: int | None = None
    current_ma: int | None = None
    power_mw: int | None = None
    energy_mwh: int | None = None
    frequency_millihz: int | None = None
    power_factor_permille: int | None = None
    total_confirmed_mwh: int | None = None
    total_provisional_mwh: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRow:
    """One reading: record `position` in the log, `index` inside its envelope; no block while it is not anchored.

    `attested_by` is device, gateway or platform.
    """

    position: int
    index: int
    time_ms: int
    attested_by: str
    voltage_mv: int | None = None
    current_ma: int | None = None
    power_mw: int | None = None
    energy_mwh: int | None = None
    frequency_millihz: int | None = None
    power_factor_permille: int | None = None
    block_number: int | None = None
    block_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Readings as columns of equal length for a chart, oldest first; thinning keeps each stretch's least and most."""

    times_ms: tuple[int, ...]
    power_mw: tuple[int | None, ...]
    voltage_mv: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HourRow:
    """One hour of one meter, named by its first millisecond; hours without readings and energy have no row."""

    hour_ms: int
    confirmed_mwh: int
    provisional_mwh: int
    power_max_mw: int | None
    power_mean_mw: int | None
    readings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Energy of one meter over the hours that begin in a span."""

    confirmed_mwh: int
    provisional_mwh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDetail:
    """One leaf of the log. `data` is the exact signed bytes; `kind` envelope or act; `state` accepted or implausible.

    `room_id` is the room that the meter measured at the time of the record, None where it was in none. `from_ms` and
    `to_ms` are the times of its first and last dated reading (else when it was received): a tenant sees only records of
    the own tenancy. `public_key` is the signer's (hex), `leaf` the leaf hash (hex), `batch` its batch's id.
    """

    position: int
    kind: str
    leaf: str
    data: bytes = field(repr=False)
    public_key: str
    device: str | None
    epoch: str | None
    sequence: int | None
    meter_id: int | None
    room_id: int | None
    received_ms: int
    from_ms: int
    to_ms: int
    state: str
    reason: str | None
    attested_by: str
    batch: int | None
    block_number: int | None
    block_hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a stranger needs to check one record, and what checking it just now found.

    `document` is the JSON that `terang proof` writes. The findings are those of the code behind `terang verify` over
    that document, never flags that were stored. `signed`: the record's bytes verify under `public_key`. `logged`: the
    path leads to the root of the signed checkpoint `checkpoint` of `size` records. `anchored`: that root stands in
    block `block_number`, `block_hash` of the chain; False too while no block holds it yet, and while the chain could
    not be asked (`unasked`). `problem` says in one
    English sentence what did not hold, None when all that exists held.
    """

    document: dict[str, Any]
    signed: bool
    logged: bool
    anchored: bool
    size: int | None
    checkpoint: str | None
    block_number: int | None
    block_hash: str | None
    unasked: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """Records `old_size` up to but not including `new_size`, committed together; `size_bytes` is the calldata."""

    id: int
    old_size: int
    new_size: int
    root: str
    size_bytes: int
    tx_hash: str | None
    block_number: int | None
    block_hash: str | None
    anchored_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """Log and chain as they stand. Hashes and addresses are hex; `signer` is the block signer's address.

    `bytes_today` is what batches and blocks added since local midnight, None if it is not counted; `paused` says in
    one sentence why anchoring waits, None when it does not. `words` are the newest head's twelve words.
    """

    size: int
    root: str
    anchored_size: int
    checkpoint: str | None
    signer: str | None
    chain_id: int | None
    contract: str | None
    bytes_today: int | None
    head_number: int | None
    head_hash: str | None
    paused: str | None
    words: tuple[str, ...] = ()
    witnessed: "Witnessed | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    """A witness elsewhere has co-signed the log's head of `size` records at `time_ms`, after the one before."""

    name: str
    size: int
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptHead:
    """What comparing a head that somebody has kept found: `word` is same, other (another history), ahead (the log is
    shorter than it was) or unreadable; `size` of the head where it could be read.
    """

    word: str
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """How many readings of a meter are stored from a span, and how many reads its device declared lost."""

    meter_id: int
    stored: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """Envelopes that were not taken as readings. `kind`: quarantined (never in the log) or implausible (in the log).

    `reason` is the one word under which it is counted, `detail` one line for a person, `count` how many alike.
    """

    at_ms: int
    reason: str
    detail: str
    device: str | None
    count: int
    kind: str
    position: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A step of a meter's register that a person has to decide, or has decided."""

    id: int
    meter_id: int
    from_ms: int
    to_ms: int
    confirmed_mwh: int
    provisional_mwh: int
    reason: str
    counted_mwh: int | None
    decided_by: str | None
    decided_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRow:
    """Something that somebody should know: `topic` names the text, `values` fill it in; `seen_ms` None while open."""

    id: int
    at_ms: int
    topic: str
    values: dict[str, str]
    seen_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Sequences `first` up to, not including, `end` of an epoch (hex) that have not come and are not declared lost."""

    epoch: str
    first: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Reads that a device declared lost, with its own word for the reason."""

    at_ms: int
    reason: str
    reads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow:
    """A device: `id` and `public_key` hex; `epochs` counts the starts of its process that were heard of."""

    id: str
    name: str
    public_key: str
    adopted_ms: int
    revoked_ms: int | None
    last_seen_ms: int | None
    epochs: int
    gaps: tuple[Gap, ...]
    losses: tuple[Loss, ...]


class Source(Protocol):
    """Reads the store, never writes. Called from several threads at once; raises StoreError where it cannot read."""

    def site(self) -> Site:
        """The house that is served."""
        ...

    def user_by_name(self, name: str) -> User | None:
        """The person of exactly this name."""
        ...

    def rooms(self) -> list[Room]:
        """All rooms, in the order of their names as people count them (Kamar 2 before Kamar 10)."""
        ...

    def room(self, room_id: int) -> Room | None:
        """One room."""
        ...

    def rooms_of(self, user_id: int) -> list[Room]:
        """The rooms in which this person lives now."""
        ...

    def latest(self, meter_ids: tuple[int, ...]) -> dict[int, Latest]:
        """What is known last of each; a meter never heard of has no entry."""
        ...

    def readings(self, meter_id: int, before_ms: int | None, limit: int) -> list[ReadingRow]:
        """Dated readings newest first, only those before `before_ms` if given."""
        ...

    def series(self, meter_id: int, from_ms: int, to_ms: int, points: int) -> Series:
        """Readings from `from_ms` up to but not including `to_ms`, thinned to about `points`."""
        ...

    def hours(self, meter_id: int, from_ms: int, to_ms: int) -> list[HourRow]:
        """The hours that begin in the span, oldest first."""
        ...

    def used(self, meter_ids: tuple[int, ...], from_ms: int, to_ms: int) -> dict[int, Used]:
        """Sums over the hours that begin in the span; a meter without any has no entry."""
        ...

    def record(self, position: int) -> RecordDetail | None:
        """The record at this position of the log."""
        ...

    def batches(self, before: int | None, limit: int) -> list[BatchRow]:
        """Batches newest first, only ids below `before` if given."""
        ...

    def ledger(self) -> LedgerState:
        """Log and chain as they stand."""
        ...

    def delivered(self, from_ms: int, to_ms: int) -> list[Delivered]:
        """Each meter's readings and losses of the span."""
        ...

    def refused(self, limit: int) -> list[RefusedRow]:
        """What was refused, newest first."""
        ...

    def refused_counts(self) -> dict[str, int]:
        """How many envelopes were ever refused, by reason."""
        ...

    def steps(self, *, open_only: bool) -> list[StepRow]:
        """Provisional steps, newest first."""
        ...

    def notices(self, *, open_only: bool) -> list[NoticeRow]:
        """Notices, newest first; at most a few hundred."""
        ...

    def devices(self) -> list[DeviceRow]:
        """Every device ever adopted."""
        ...

    def compare_head(self, text: str) -> KeptHead:
        """Whether the log is still one history with this head: a checkpoint, or its size and twelve words."""
        ...

    def proof(self, position: int, index: int = 0, since: int | None = None) -> Proof | None:
        """The proof of a record; None where there is no such record or no checkpoint covers it yet."""
        ...
