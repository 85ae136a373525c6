"""Every record of the log: its bytes, its leaf, its signature, and what the store says of it beside."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from terang.audit.findings import Findings, Progress
from terang.audit.rooms import StatedRooms
from terang.kit import Kit
from terang.store.reader import StoreReader
from terang.store.schema import ACCEPTED, FORKED, IMPLAUSIBLE, STATES
from terang.values import envelope
from terang.values.act import Act, open_act
from terang.values.errors import CodecError, SignatureError, TerangError
from terang.values.reading import READINGS, Event, Lost, Readings, TimeFix, decode_body
from terang.values.record import ENVELOPE, KINDS, leaf_hash
from terang.values.signing import is_signed_by
from terang.verify.envelopes import Opened
from terang.verify.order import EpochOrder
from terang.verify.plausible import EARLIEST_MS, implausible

__all__ = ["Decision", "Late", "Stated", "StatedLoss", "check_records"]

_CHUNK = 5000
# whatever a value of another type, put there by hand, may do to code that reads it
_ALTERED = (TerangError, TypeError, ValueError, OverflowError, AttributeError, KeyError, IndexError)


class Decision(NamedTuple):
    """What a person decided of a provisional step: the energy [mWh], the act's place in the log, who (0: the command
    line) and when.
    """

    counted_mwh: int
    position: int
    person: int
    at_ms: int


class StatedLoss(NamedTuple):
    """A lost record with the meter that it came by and when it came."""

    lost: Lost
    meter_id: int
    received_ms: int


class Late(NamedTuple):
    """Readings that were signed without UTC, or with one that the platform's clock did not believe when they came."""

    position: int
    device_id: int
    epoch_id: int
    meter_id: int
    uptime_ms: int
    utc_ms: int | None
    attested_by: int
    raw: bytes


@dataclass(slots=True)
class Stated:
    """What the log itself says, gathered while its records are read.

    `readings`: meter -> how many envelopes with readings it has. `heard`: meter -> when the newest came.
    `late`: readings that were not dated by their own UTC when they came. `fixes`: epoch -> every (uptime, UTC, record)
    that its time records tie. `dated`: device -> (record, UTC) of which the platform
    believed the time, only those after which none was of a later one.
    `decided`: (meter, from, to, provisional, reason) of a step -> the decision. `lost`: record -> what was declared
    lost. `adopted` and `revoked`: device -> (public key, when), when. `signed`: meter -> record -> (UTC, columns) where
    the row that pages read is another one or gone. `missing`: meter -> how many rows are gone. `strangers`: (meter,
    record) of rows that nobody signed. `unsure`: records of which nobody can say any more what they were. `rooms`: what
    acts say of rooms and people. `set_aside`: how many records are implausible or forked.
    """

    readings: Counter[int] = field(default_factory=Counter)
    heard: dict[int, int] = field(default_factory=dict)
    late: list[Late] = field(default_factory=list)
    fixes: dict[int, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    dated: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    decided: dict[tuple[int, int, int, int, str], Decision] = field(default_factory=dict)
    lost: dict[int, StatedLoss] = field(default_factory=dict)
    adopted: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    revoked: dict[bytes, int] = field(default_factory=dict)
    signed: dict[int, dict[int, tuple[int, Readings]]] = field(default_factory=lambda: defaultdict(dict))
    missing: Counter[int] = field(default_factory=Counter)
    strangers: set[tuple[int, int]] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)
    rooms: StatedRooms = field(default_factory=StatedRooms)
    set_aside: int = 0


@dataclass(slots=True)
class _Check:
    store: StoreReader
    data_of: Callable[[int], bytes]
    findings: Findings
    kits: Mapping[str, Kit]
    devices: dict[bytes, tuple[int, bytes]]  # 16 bytes of id -> row and key
    epochs: dict[tuple[int, bytes], int]  # device's row and epoch -> row
    meters: dict[tuple[int, int], tuple[int, str]]  # device's row and address -> row and kit
    platform_key: bytes
    orders: dict[int, EpochOrder] = field(default_factory=lambda: defaultdict(EpochOrder))
    stated: Stated = field(default_factory=Stated)


def check_records(
    store: StoreReader,
    data_of: Callable[[int], bytes],
    kits: Mapping[str, Kit],
    findings: Findings,
    progress: Progress,
) -> tuple[list[bytes], Stated]:
    """The leaf hashes of all records, computed from their bytes, and what the records state.

    `data_of` reads the bytes that the store has let go of from the chain; it is asked in the order of the log.
    """
    check = _Check(
        store=store,
        data_of=data_of,
        findings=findings,
        kits=kits,
        devices={row[1]: (row[0], row[2]) for row in store.rows("SELECT id, key_id, public_key FROM device")},
        epochs={(row[1], row[2]): row[0] for row in store.rows("SELECT id, device_id, epoch FROM epoch")},
        meters={row[:2]: row[2:] for row in store.rows("SELECT device_id, address, id, kit FROM meter")},
        platform_key=bytes.fromhex(store.setting("platform_key")),
    )
    size = store.rows("SELECT coalesce(max(position), -1) + 1 FROM record")[0][0]
    said = store.rows("SELECT coalesce(max(new_size), 0) FROM batch WHERE block_hash IS NOT NULL")[0][0]
    anchored_size = said if isinstance(said, int) else 0  # else a finding of the batches
    leaves: list[bytes] = []
    for row in _rows(store):
        if row[0] - len(leaves) > _CHUNK:
            findings.add("record", f"records {len(leaves)} to {row[0] - 1}", "are missing, too many to go on")
            check.stated.unsure.add(len(leaves))
            break
        for position in range(len(leaves), row[0]):
            findings.add("record", f"record {position}", "is missing")
            check.stated.unsure.add(position)
            leaves.append(bytes(32))
        leaves.append(_check_record(check, row))
        if row[0] % _CHUNK == 0:
            progress("records", row[0], size)
            for order in check.orders.values():
                order.anchor(anchored_size)  # it need not remember where that stands
    for (position,) in store.rows("SELECT position FROM held WHERE position NOT IN (SELECT position FROM record)"):
        findings.add("record", f"record {position}", "does not exist, and bytes of it are kept")
    progress("records", size, size)
    _check_late(check)
    _check_variants(check)
    _check_devices(check)
    _check_epochs(check, anchored_size)
    return leaves, check.stated


def _rows(store: StoreReader) -> Iterator[tuple[Any, ...]]:
    position = 0
    while rows := store.rows(
        "SELECT r.position, r.kind, r.leaf, h.data, r.received_ms, r.epoch_id, r.sequence, r.variant, r.meter_id,"
        " r.state, r.reason FROM record r LEFT JOIN held h ON h.position = r.position WHERE r.position >= ?"
        " ORDER BY r.position LIMIT ?",
        (position, _CHUNK),
    ):
        yield from rows
        position = rows[-1][0] + 1


def _check_record(check: _Check, row: tuple[Any, ...]) -> bytes:
    """The record's leaf hash; what differs becomes a finding.

    Of bytes and leaf hash that do not go together those are believed that are signed.
    """
    position, leaf = row[0], row[2]
    try:
        return _check_bytes(check, *row)
    except _ALTERED as error:
        check.findings.add("record", f"record {position}", str(error) or "cannot be read")
        check.stated.unsure.add(position)
        return leaf if isinstance(leaf, bytes) and len(leaf) == len(bytes(32)) else bytes(32)


def _check_bytes(
    check: _Check, position: int, kind: int, leaf: bytes, data: bytes | None, received_ms: int, *columns: Any
) -> bytes:
    if kind not in KINDS:
        raise CodecError(f"has a kind that does not exist: {kind}")
    try:
        data = check.data_of(position) if data is None else data
    except TerangError as error:
        raise CodecError(f"its bytes cannot be read back: {error}") from error
    found = leaf_hash(kind, data)
    if found != leaf:
        check.findings.add(
            "record", f"record {position}", "its bytes do not give its leaf hash: one of the two was altered"
        )
    if kind == ENVELOPE:
        _check_envelope(check, position, data, found, received_ms, columns)
    else:
        _take_act(check, position, open_act(check.platform_key, data))
        if columns != (None, None, None, None, ACCEPTED, None):
            raise CodecError("is an act of the platform, and stands under a device")
    return found


def _check_envelope(
    check: _Check, position: int, data: bytes, leaf: bytes, received_ms: int, columns: tuple[Any, ...]
) -> None:
    epoch_id, sequence, variant, meter_id, state, reason = columns
    payload, signature = envelope.split(data)
    fields, body_at = envelope.split_payload(payload)
    device_id, public_key = check.devices.get(fields[1], (0, b""))
    if not is_signed_by(public_key, payload, signature):
        raise SignatureError("is not signed with the key of a device that was adopted")
    known_epoch = check.epochs.get((device_id, fields[2]), 0)
    known_meter, kit = check.meters.get((device_id, fields[5]), (0, ""))
    name = f"record {position}"
    if (epoch_id, sequence) != (known_epoch, fields[3]):
        check.findings.add("record", name, "stands under another epoch or sequence than was signed")
    if meter_id != known_meter:
        check.findings.add("record", name, "stands under another meter than was signed")
    body, fault = _body_of(fields[0], payload, body_at)
    opened = Opened(data, payload, body_at, leaf, *(*fields, body, fault))
    why = fault or implausible(opened, body, check.kits[kit].quantities)
    if variant not in (0, 1):
        raise CodecError(f"is kept as variant {variant!r} of its sequence, and there are 0 and 1")
    wanted = FORKED if variant else IMPLAUSIBLE if why else ACCEPTED
    if (state, reason) != (wanted, why):
        detail = f"is kept as {STATES[state] if state in range(len(STATES)) else state} ({reason}),"
        check.findings.add("record", name, f"{detail} and by what was signed it is {STATES[wanted]} ({why})")
    check.stated.set_aside += wanted != ACCEPTED
    if wanted != FORKED:
        check.orders[known_epoch].take(fields[3], position)
    if wanted == ACCEPTED:
        _take_body(check, position, opened, (known_epoch, known_meter, received_ms))


def _body_of(kind: int, payload: bytes, at: int) -> tuple[Readings | Lost | TimeFix | Event | None, str | None]:
    """The body, or what is wrong with it, in the words of the envelope's opener."""
    try:
        body, end = decode_body(kind, payload, at)
    except CodecError as error:
        return None, f"broken: {error}"
    return (body, None) if end == len(payload) else (None, "broken: there are bytes after the body")


def _take_body(check: _Check, position: int, opened: Opened, place: tuple[int, int, int]) -> None:
    epoch_id, meter_id, received_ms = place
    stated, body = check.stated, opened.body
    if isinstance(body, Readings):
        stated.readings[meter_id] += 1
        stated.heard[meter_id] = received_ms
        raw = opened.payload[opened.body_at :]
        device_id = check.devices[opened.device][0]
        late = Late(position, device_id, epoch_id, meter_id, opened.uptime_ms, opened.utc_ms, opened.attested_by, raw)
        if opened.utc_ms is None or _is_undated(check, late):
            stated.late.append(late)
            return
        _check_reading(check, position, meter_id, opened.utc_ms, (opened.attested_by, body, raw))
        believed = stated.dated[device_id]
        while believed and believed[-1][1] <= opened.utc_ms:
            believed.pop()
        believed.append((position, opened.utc_ms))
    elif isinstance(body, (Lost, TimeFix)):
        device_id = check.devices[opened.device][0]
        told = check.epochs.get((device_id, body.epoch), 0)
        if isinstance(body, TimeFix):
            stated.fixes[told].append((body.uptime_ms, body.utc_ms, position))
        else:
            stated.lost[position] = StatedLoss(body, meter_id, received_ms)
            check.orders[told].close(body.first_sequence, body.end_sequence, position)


def _check_reading(
    check: _Check, position: int, meter_id: int, first_ms: int, said: tuple[int, Readings, bytes]
) -> None:
    """The row that pages read must be the signed columns at the signed time."""
    if _is_stored(check, position, meter_id, first_ms, said):
        return
    check.stated.signed[meter_id][position] = (first_ms, said[1])
    check.findings.add(
        "reading", f"readings of meter {meter_id} in record {position}", "are missing, or are not what was signed"
    )
    rows = check.store.rows("SELECT meter_id FROM reading WHERE position=?", (position,))
    if (meter_id,) not in rows:
        check.stated.missing[meter_id] += 1


def _is_stored(check: _Check, position: int, meter_id: int, first_ms: int, said: tuple[int, Readings, bytes]) -> bool:
    attested_by, body, raw = said
    rows = check.store.rows(
        "SELECT last_ms, count, attested_by, body FROM reading WHERE meter_id=? AND first_ms=? AND position=?",
        (meter_id, first_ms, position),
    )
    return rows == [(first_ms + body.offsets_ms[-1], len(body.offsets_ms), attested_by, raw)]


def _is_undated(check: _Check, late: Late) -> bool:
    row = (late.meter_id, late.uptime_ms, late.utc_ms, late.attested_by, late.raw)
    return check.store.rows(
        "SELECT meter_id, uptime_ms, utc_ms, attested_by, body FROM undated WHERE epoch_id=? AND position=?",
        (late.epoch_id, late.position),
    ) == [row]


def _check_late(check: _Check) -> None:
    """Readings that waited for a date have one that was signed, or nothing that came since would give them one."""
    for late in check.stated.late:
        name = f"readings of meter {late.meter_id} in record {late.position}"
        times = _times_of(check, late)
        if _is_undated(check, late):
            if any(ms >= EARLIEST_MS and ms <= _believed_after(check, late, since) for ms, since in times):
                check.findings.add("undated", name, "are kept without a date, and what came later gives them one")
            continue
        body: Readings = decode_body(READINGS, late.raw, 0)[0]
        said = (late.attested_by, body, late.raw)
        if not any(_is_stored(check, late.position, late.meter_id, first_ms, said) for first_ms, _ in times):
            check.findings.add("reading", name, "are neither undated nor at a time that a signed time record gives")
            at = (late.meter_id, late.position)
            rows = check.store.rows("SELECT 1 FROM reading WHERE meter_id=? AND position=?", at)
            rows += check.store.rows("SELECT 1 FROM undated WHERE meter_id=? AND position=?", at)
            check.stated.missing[late.meter_id] += not rows


def _believed_after(check: _Check, late: Late, since: int) -> int:
    """The latest UTC that the platform believed this device after the readings came and record `since` dated them."""
    believed = check.stated.dated[late.device_id]
    at = bisect_right(believed, (max(since, late.position), 1 << 63))
    return believed[at][1] if at < len(believed) else 0


def _times_of(check: _Check, late: Late) -> list[tuple[int, int]]:
    """(UTC, record that says so) of readings that came without a date that was believed."""
    if late.utc_ms is not None:
        return [(late.utc_ms, late.position)]
    fixes = check.stated.fixes[late.epoch_id]
    return [(utc + late.uptime_ms - uptime, position) for uptime, utc, position in fixes]


def _take_act(check: _Check, position: int, act: Act) -> None:
    stated = check.stated
    stated.rooms.take(act)
    if act.name == "adopt_device":
        key_id, public_key = act.values
        stated.adopted[bytes(key_id)] = (bytes(public_key), act.at_ms)  # type: ignore[arg-type]
    elif act.name == "revoke_device":
        stated.revoked[bytes(act.values[0])] = act.at_ms  # type: ignore[arg-type]
    elif act.name == "decide_step":
        key_id, address, from_ms, to_ms, provisional, reason, counted = act.values
        device_id = check.devices.get(bytes(key_id), (0, b""))[0]  # type: ignore[arg-type]
        meter_id = check.meters.get((device_id, int(address)), (0, ""))[0]
        step = (meter_id, int(from_ms), int(to_ms), int(provisional), str(reason))
        stated.decided[step] = Decision(int(counted), position, act.person, act.at_ms)


def _check_devices(check: _Check) -> None:
    """A device's key must be the one whose adoption stands in the log, or anybody's readings could be slipped in."""
    adopted, findings = check.stated.adopted, check.findings
    for key_id, public_key, adopted_ms, revoked_ms in check.store.rows(
        "SELECT key_id, public_key, adopted_ms, revoked_ms FROM device"
    ):
        name = key_id.hex() if isinstance(key_id, bytes) else str(key_id)
        if adopted.get(key_id, (None, 0))[0] != public_key or envelope.device_id(public_key) != key_id:
            findings.add("device", name, "its public key is not the one whose adoption stands in the log")
        elif adopted[key_id][1] != adopted_ms or check.stated.revoked.get(key_id) != revoked_ms:
            findings.add("device", name, "was adopted or revoked at another time than stands in the log")
    for key_id in adopted.keys() - check.devices.keys():
        findings.add("device", key_id.hex(), "is missing, although its adoption stands in the log")


def _check_variants(check: _Check) -> None:
    """What is set aside as the second under one number needs a first, with other bytes, before it."""
    for (position,) in check.store.rows(
        "SELECT r.position FROM record r WHERE r.variant = 1 AND NOT EXISTS (SELECT 1 FROM record o"
        " WHERE o.epoch_id = r.epoch_id AND o.sequence = r.sequence AND o.variant = 0 AND o.position < r.position"
        " AND o.leaf <> r.leaf)"
    ):
        check.findings.add("record", f"record {position}", "is set aside as a second of its number, and has no first")


def _check_epochs(check: _Check, anchored_size: int) -> None:
    """How far each epoch has come: what receipts and the list of gaps say."""
    if check.stated.unsure:
        return  # where records are altered or gone nobody can say it
    for epoch_id, stored_end, anchored_end in check.store.rows("SELECT id, stored_end, anchored_end FROM epoch"):
        order = check.orders[epoch_id]
        order.anchor(anchored_size)
        if (stored_end, anchored_end) != (order.stored_end, order.anchored_end):
            detail = f"is stored up to {stored_end} and anchored up to {anchored_end}; the log has it up to"
            check.findings.add("epoch", f"epoch {epoch_id}", f"{detail} {order.stored_end} and {order.anchored_end}")
