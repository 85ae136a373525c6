"""Every record of the log: its bytes, its leaf, its signature, and what the store says of it beside."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from terang.audit.findings import Findings, Progress
from terang.store.reader import StoreReader
from terang.store.schema import ACCEPTED, IMPLAUSIBLE
from terang.values import envelope
from terang.values.act import open_act
from terang.values.errors import CodecError, SignatureError, StoreError, TerangError
from terang.values.reading import READINGS, Lost, Readings, TimeFix, decode_body
from terang.values.record import ACT, ENVELOPE, KINDS, leaf_hash
from terang.values.signing import is_signed_by

__all__ = ["Stated", "check_records"]

_CHUNK = 5000


@dataclass(slots=True)
class Stated:
    """What the log itself says beside readings, gathered while its records are read.

    `readings`: meter -> how many envelopes with readings it has. `late_dated`: readings that were signed without UTC,
    as (record, epoch, meter, uptime, body's bytes). `fixes`: epoch -> every (uptime, UTC) that its time records tie.
    `decided`: what people decided of provisional steps. `lost`: record -> what was declared lost. `adopted`: device ->
    the public key of its adoption.
    """

    readings: Counter[int] = field(default_factory=Counter)
    late_dated: list[tuple[int, int, int, int, bytes]] = field(default_factory=list)
    fixes: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    decided: dict[tuple[int, int, int, str], int] = field(default_factory=dict)
    lost: dict[int, Lost] = field(default_factory=dict)
    adopted: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class _Check:
    store: StoreReader
    data_of: Callable[[int], bytes]
    findings: Findings
    devices: dict[int, tuple[bytes, bytes]]
    epochs: dict[int, tuple[int, bytes]]
    meters: dict[int, tuple[int, int]]
    platform_key: bytes
    stated: Stated


def check_records(
    store: StoreReader, data_of: Callable[[int], bytes], findings: Findings, progress: Progress
) -> tuple[list[bytes], Stated]:
    """The leaf hashes of all records, computed from their bytes, and what the records state.

    `data_of` reads the bytes that the store has let go of from the chain.
    """
    check = _Check(
        store=store,
        data_of=data_of,
        findings=findings,
        devices={row[0]: (row[1], row[2]) for row in store.rows("SELECT id, key_id, public_key FROM device")},
        epochs={row[0]: (row[1], row[2]) for row in store.rows("SELECT id, device_id, epoch FROM epoch")},
        meters={row[0]: (row[1], row[2]) for row in store.rows("SELECT id, device_id, address FROM meter")},
        platform_key=bytes.fromhex(store.setting("platform_key")),
        stated=Stated(),
    )
    size = store.rows("SELECT coalesce(max(position), -1) + 1 FROM record")[0][0]
    leaves: list[bytes] = []
    for row in _rows(store):
        while len(leaves) < row[0]:
            findings.add("record", f"record {len(leaves)}", "is missing")
            leaves.append(bytes(32))
        leaves.append(_check_record(check, row))
        if row[0] % _CHUNK == 0:
            progress("records", row[0], size)
    progress("records", size, size)
    _check_late_dated(check)
    _check_keys(check)
    return leaves, check.stated


def _rows(store: StoreReader) -> Iterator[tuple[Any, ...]]:
    position = 0
    while rows := store.rows(
        "SELECT r.position, r.kind, r.leaf, h.data, r.epoch_id, r.sequence, r.variant, r.meter_id, r.state, r.reason"
        " FROM record r LEFT JOIN held h ON h.position = r.position WHERE r.position >= ? ORDER BY r.position LIMIT ?",
        (position, _CHUNK),
    ):
        yield from rows
        position = rows[-1][0] + 1


def _check_record(check: _Check, row: tuple[Any, ...]) -> bytes:
    """The leaf hash of a record's bytes; what differs becomes a finding."""
    position, kind, leaf, data, *columns = row
    name = f"record {position}"
    if kind not in KINDS:
        check.findings.add("record", name, f"has a kind that does not exist: {kind}")
        return bytes(leaf)
    try:
        data = check.data_of(position) if data is None else data
    except TerangError as error:
        check.findings.add("record", name, f"its bytes cannot be read back: {error}")
        return bytes(leaf)
    found = leaf_hash(kind, data)
    if found != leaf:
        check.findings.add("record", name, "its bytes do not give its leaf hash: one of the two was altered")
    try:
        if kind == ENVELOPE:
            _check_envelope(check, position, data, columns)
        elif kind == ACT:
            _take_act(check, data)
    except (CodecError, SignatureError, StoreError) as error:
        check.findings.add("record", name, str(error))
    return found


def _check_envelope(check: _Check, position: int, data: bytes, columns: list[Any]) -> None:
    epoch_id, sequence, _variant, meter_id, state, reason = columns
    payload, signature = envelope.split(data)
    fields, body_at = envelope.split_payload(payload)
    kind, device, epoch, number, _previous, address, _attested, uptime_ms, utc_ms, _clock = fields
    name = f"record {position}"
    known = {key_id: (row_id, public) for row_id, (key_id, public) in check.devices.items()}.get(device)
    if known is None or not is_signed_by(known[1], payload, signature):
        check.findings.add("record", name, "is not signed with the key of a device that was adopted")
        return
    if check.epochs.get(epoch_id) != (known[0], epoch) or sequence != number:
        check.findings.add("record", name, "stands under another epoch or sequence than was signed")
    if check.meters.get(meter_id) != (known[0], address):
        check.findings.add("record", name, "stands under another meter than was signed")
    if state == IMPLAUSIBLE and not reason:
        check.findings.add("record", name, "was set aside as implausible without a reason")
    if state == ACCEPTED:
        body, _ = decode_body(kind, payload, body_at)
        stated = check.stated
        if isinstance(body, Readings):
            stated.readings[meter_id] += 1
            raw = payload[body_at:]
            if utc_ms is None:
                stated.late_dated.append((position, epoch_id, meter_id, uptime_ms, raw))
            else:
                _check_reading(check, position, meter_id, utc_ms, body, raw)
        elif isinstance(body, Lost):
            stated.lost[position] = body
        elif isinstance(body, TimeFix):
            _take_fix(check, epoch_id, body)


def _check_reading(
    check: _Check, position: int, meter_id: int, first_ms: int, body: Readings, raw: bytes
) -> None:
    """The row that pages read must be the signed columns at the signed time."""
    name = f"readings of meter {meter_id} in record {position}"
    rows = check.store.rows(
        "SELECT last_ms, count, body FROM reading WHERE meter_id=? AND first_ms=? AND position=?",
        (meter_id, first_ms, position),
    )
    if not rows:
        check.findings.add("reading", name, "are missing, or stand at another time or meter than was signed")
    elif rows[0] != (first_ms + body.offsets_ms[-1], len(body.offsets_ms), raw):
        check.findings.add("reading", name, "differ from what was signed")


def _take_fix(check: _Check, epoch_id: int, fix: TimeFix) -> None:
    device_id = check.epochs[epoch_id][0]
    for known_id, (known_device, known_epoch) in check.epochs.items():
        if (known_device, known_epoch) == (device_id, fix.epoch):
            check.stated.fixes.setdefault(known_id, []).append((fix.uptime_ms, fix.utc_ms))


def _check_late_dated(check: _Check) -> None:
    """Readings that were signed without UTC: undated still, or at a time that a signed time record gives."""
    for position, epoch_id, meter_id, uptime_ms, raw in check.stated.late_dated:
        name = f"readings of meter {meter_id} in record {position}"
        row = (meter_id, uptime_ms, raw)
        if check.store.rows("SELECT meter_id, uptime_ms, body FROM undated WHERE position=?", (position,)) == [row]:
            continue
        body: Readings = decode_body(READINGS, raw, 0)[0]
        times = [utc + uptime_ms - uptime for uptime, utc in check.stated.fixes.get(epoch_id, [])]
        found = [
            rows[0]
            for first_ms in times
            if (
                rows := check.store.rows(
                    "SELECT first_ms, last_ms, body FROM reading WHERE meter_id=? AND first_ms=? AND position=?",
                    (meter_id, first_ms, position),
                )
            )
        ]
        if not any(row == (row[0], row[0] + body.offsets_ms[-1], raw) for row in found):
            check.findings.add("reading", name, "are neither undated nor at a time that a signed time record gives")


def _take_act(check: _Check, data: bytes) -> None:
    act = open_act(check.platform_key, data)
    if act.name == "adopt_device":
        key_id, public_key = act.values
        check.stated.adopted[bytes(key_id)] = bytes(public_key)  # type: ignore[arg-type]
    elif act.name == "decide_step":
        key_id, address, from_ms, to_ms, _provisional, reason, counted = act.values
        for meter_id, (device_id, known_address) in check.meters.items():
            if (check.devices[device_id][0], known_address) == (key_id, address):
                check.stated.decided[meter_id, int(from_ms), int(to_ms), str(reason)] = int(counted)


def _check_keys(check: _Check) -> None:
    """A device's key must be the one whose adoption stands in the log, or anybody's readings could be slipped in."""
    for key_id, public_key in check.devices.values():
        if envelope.device_id(public_key) != key_id or check.stated.adopted.get(key_id) != public_key:
            check.findings.add("device", key_id.hex(), "its public key is not the one whose adoption stands in the log")
