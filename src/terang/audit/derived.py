"""The tables that pages read, computed again from the signed readings: readings, hours, last values, steps, losses."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from typing import Any

from terang.audit.findings import Findings, Progress
from terang.audit.records import Stated
from terang.kit import Kit, State, Step
from terang.store.reader import StoreReader
from terang.timeline import HOUR_MS, Placed, pieces_of, spread
from terang.values import cbor
from terang.values.errors import CodecError
from terang.values.quantity import POWER_MW, QUANTITIES
from terang.values.reading import READINGS, Readings, decode_body

__all__ = ["check_derived"]

_CHUNK = 2000
_FLAGS = (0, 1)
_CODES = tuple(quantity.code for quantity in QUANTITIES)
_VALUES = ", ".join(quantity.name for quantity in QUANTITIES)


def check_derived(
    store: StoreReader, kits: Mapping[str, Kit], stated: Stated, findings: Findings, progress: Progress
) -> None:
    """Compare every derived row with what the signed readings, checked before, give."""
    _check_strangers(store, stated, findings)
    meters = store.rows("SELECT id, kit FROM meter ORDER BY id")
    for done, (meter_id, kit) in enumerate(meters):
        progress("meters", done, len(meters))
        _check_meter(store, kits[kit], meter_id, stated, findings)
    progress("meters", len(meters), len(meters))
    _check_lost(store, stated, findings)


def _check_strangers(store: StoreReader, stated: Stated, findings: Findings) -> None:
    """Rows that no accepted envelope of their meter stands behind."""
    counts: Counter[int] = Counter()
    for table in ("reading", "undated"):
        for meter_id, position in store.rows(
            f"SELECT g.meter_id, g.position FROM {table} g LEFT JOIN record r ON r.position = g.position"  # noqa: S608
            " WHERE r.position IS NULL OR r.state <> 0 OR r.meter_id <> g.meter_id"
        ):
            if position not in stated.unsure and position not in stated.signed[meter_id]:
                findings.add(table, f"readings of meter {meter_id} in record {position}", "no signed envelope says so")
                stated.strangers.add((meter_id, position))
        counts.update(dict(store.rows(f"SELECT meter_id, count(*) FROM {table} GROUP BY meter_id")))  # noqa: S608
        for position in stated.unsure:
            for (meter_id,) in store.rows(f"SELECT meter_id FROM {table} WHERE position=?", (position,)):  # noqa: S608
                counts[meter_id] -= 1
    for meter_id in counts.keys() | stated.readings.keys():
        wanted = stated.readings[meter_id] - stated.missing[meter_id]
        if counts[meter_id] != wanted:
            findings.add("reading", f"meter {meter_id}", f"has {counts[meter_id]} rows for {wanted} signed envelopes")
    for table in ("reading", "undated", "hour", "latest", "step", "lost"):
        for (meter_id,) in store.rows(
            f"SELECT DISTINCT meter_id FROM {table} WHERE meter_id NOT IN (SELECT id FROM meter)"  # noqa: S608
        ):
            findings.add(table, f"meter {meter_id}", "there is no such meter")


@dataclass(slots=True)
class _Sums:
    """What one meter's readings give, folded in the order of their time."""

    steps: list[Step] = field(default_factory=list)
    hours: dict[int, list[int]] = field(default_factory=dict)
    readings: int = 0
    newest: Placed | None = None
    state: State | None = None
    regular: bool = False

    def hour(self, time_ms: int) -> list[int]:
        """confirmed, provisional, sum of power, most power, readings."""
        return self.hours.setdefault(time_ms - time_ms % HOUR_MS, [0, 0, 0, 0, 0])

    def add(self, segment: Placed) -> None:
        """Count the readings of one envelope."""
        powers = segment.body.columns.get(POWER_MW)
        for index, offset in enumerate(segment.body.offsets_ms):
            row = self.hour(segment.first_ms + offset)
            row[4] += 1
            if powers:
                row[2] += powers[index]
                row[3] = max(row[3], powers[index])
        self.readings += len(segment.body.offsets_ms)
        if self.newest is None or (segment.last_ms, segment.position) > (self.newest.last_ms, self.newest.position):
            self.newest = segment


def _check_meter(store: StoreReader, kit: Kit, meter_id: int, stated: Stated, findings: Findings) -> None:
    sums = _Sums()
    signed = stated.signed[meter_id]
    for cluster in _clusters(_mended(_segments(store, meter_id, stated, findings), signed)):
        for segment in cluster:
            sums.add(segment)
        for piece in pieces_of(cluster):
            fold = kit.fold(sums.state, piece.stretch)
            sums.state, sums.regular = fold.state, fold.regular
            sums.steps += [step for step in fold.steps if step.reason]
            for step in fold.steps:
                _spread(sums, step)
            if fold.regular != piece.ends.regular and piece.ends.position not in signed:
                name = f"readings of meter {meter_id} in record {piece.ends.position}"
                findings.add("reading", name, "where folding may be taken up again differs")
    for step in _check_steps(store, meter_id, sums.steps, stated, findings):
        _spread(sums, step._replace(provisional_mwh=0))
        _spread(sums, step._replace(confirmed_mwh=0), sign=-1)
    _check_hours(store, meter_id, sums, findings)
    _check_latest(store, meter_id, sums, stated, findings)


def _mended(found: Iterator[Placed], signed: Mapping[int, tuple[int, Readings]]) -> Iterator[Placed]:
    """The rows, with what was signed in the place of those that are known to differ, so that one altered row is one
    finding and not one for everything that follows from it.
    """
    right = [
        Placed(first_ms, position, first_ms + body.offsets_ms[-1], False, body)
        for position, (first_ms, body) in signed.items()
    ]
    kept = (segment for segment in found if segment.position not in signed)
    return merge(kept, sorted(right, key=_by_time), key=_by_time)


def _by_time(segment: Placed) -> tuple[int, int]:
    return segment.first_ms, segment.position


def _spread(sums: _Sums, step: Step, sign: int = 1) -> None:
    for hour_ms, confirmed, provisional in spread(step):
        row = sums.hour(hour_ms)
        row[0] += sign * confirmed
        row[1] += sign * provisional


def _segments(store: StoreReader, meter_id: int, stated: Stated, findings: Findings) -> Iterator[Placed]:
    at = (-1, -1)
    while rows := store.rows(
        "SELECT first_ms, position, last_ms, regular, body FROM reading"
        " WHERE meter_id=? AND (first_ms, position) > (?, ?) ORDER BY first_ms, position LIMIT ?",
        (meter_id, *at, _CHUNK),
    ):
        for first_ms, position, last_ms, regular, raw in rows:
            if (meter_id, position) in stated.strangers:
                continue
            try:
                body = decode_body(READINGS, raw, 0)[0]
            except (CodecError, TypeError):
                continue  # named already: these are not the signed bytes
            if regular not in _FLAGS or type(regular) is not int:
                name = f"readings of meter {meter_id} in record {position}"
                findings.add("reading", name, f"the flag of the fold is neither 0 nor 1: {regular!r}")
            yield Placed(first_ms, position, last_ms, bool(regular), body)
        at = rows[-1][:2]


def _clusters(placed: Iterator[Placed]) -> Iterator[list[Placed]]:
    """Envelopes whose times overlap stand together; all others alone."""
    cluster: list[Placed] = []
    end_ms = -1
    for segment in placed:
        if cluster and segment.first_ms > end_ms:
            yield cluster
            cluster = []
        cluster.append(segment)
        end_ms = max(end_ms, segment.last_ms)
    if cluster:
        yield cluster


def _check_steps(
    store: StoreReader, meter_id: int, steps: list[Step], stated: Stated, findings: Findings
) -> list[Step]:
    """Compare the questions that people have to answer; what their answers moved, as steps."""
    expected = {(step.from_ms, step.to_ms, step.reason): step for step in steps if step.reason}
    said = {
        key: stated.decided.get((meter_id, *key[:2], step.provisional_mwh, key[2])) for key, step in expected.items()
    }
    moved = [step._replace(confirmed_mwh=found.counted_mwh) for key, step in expected.items() if (found := said[key])]
    people: dict[int, str] = dict(store.rows("SELECT id, name FROM user"))
    for from_ms, to_ms, reason, provisional, *answer in store.rows(
        "SELECT from_ms, to_ms, reason, provisional_mwh, counted_mwh, decided_in, decided_by, decided_ms FROM step"
        " WHERE meter_id=?",
        (meter_id,),
    ):
        name = f"step of meter {meter_id} from {from_ms} to {to_ms} ({reason})"
        step = expected.pop((from_ms, to_ms, reason), None)
        if step is None or step.provisional_mwh != provisional:
            findings.add("step", name, "is not what the signed readings give")
            continue
        decision = said[from_ms, to_ms, reason]
        wanted: list[Any] = [None] * 4
        if decision is not None:
            wanted = [decision.counted_mwh, decision.position, people.get(decision.person, "cli"), decision.at_ms]
        if answer != wanted:
            findings.add("step", name, f"is answered by {answer}, and the signed decision says {wanted}")
    for from_ms, to_ms, reason in expected:
        findings.add("step", f"step of meter {meter_id} from {from_ms} to {to_ms} ({reason})", "is missing")
    return moved


def _check_hours(store: StoreReader, meter_id: int, sums: _Sums, findings: Findings) -> None:
    expected = dict(sums.hours)
    for hour_ms, *values in store.rows(
        "SELECT hour_ms, confirmed_mwh, provisional_mwh, power_sum_mw, power_max_mw, readings FROM hour"
        " WHERE meter_id=?",
        (meter_id,),
    ):
        wanted = expected.pop(hour_ms, [0, 0, 0, 0, 0])
        if values != wanted:
            detail = f"says {values}, and the signed readings give {wanted}"
            findings.add("hour", f"hour {hour_ms} of meter {meter_id}", detail)
    for hour_ms, wanted in expected.items():
        if any(wanted):
            findings.add("hour", f"hour {hour_ms} of meter {meter_id}", "is missing")


def _check_latest(store: StoreReader, meter_id: int, sums: _Sums, stated: Stated, findings: Findings) -> None:
    rows = store.rows(
        f"SELECT time_ms, received_ms, position, readings, confirmed_mwh, provisional_mwh, regular, state, {_VALUES}"  # noqa: S608
        " FROM latest WHERE meter_id=?",
        (meter_id,),
    )
    name, newest = f"last values of meter {meter_id}", sums.newest
    if not rows or meter_id not in stated.heard:
        if rows or meter_id in stated.heard:
            findings.add("latest", name, "are missing" if not rows else "no signed readings say so")
        return
    time_ms, received_ms, position, readings, confirmed, provisional, regular, raw, *values = rows[0]
    place = (-1, 0) if newest is None else (newest.last_ms, newest.position)
    columns = {} if newest is None else newest.body.columns
    expected: list[Any] = [columns[code][-1] if code in columns else None for code in _CODES]
    if (time_ms, position, values) != (*place, expected):
        findings.add("latest", name, f"say {values} at {time_ms}, and the newest signed reading {expected}")
    if received_ms != stated.heard[meter_id]:
        findings.add("latest", name, f"came at {received_ms}, and the record of the newest at {stated.heard[meter_id]}")
    if readings != sums.readings:
        findings.add("latest", name, f"count {readings} readings, and {sums.readings} were signed")
    totals = (sum(row[0] for row in sums.hours.values()), sum(row[1] for row in sums.hours.values()))
    if (confirmed, provisional) != totals:
        findings.add("latest", name, f"total {(confirmed, provisional)} mWh, and the signed readings give {totals}")
    if (raw, regular) != (cbor.encode_column(sums.state or ()), sums.regular):
        findings.add("latest", name, "the state of the register is not what the signed readings give")


def _check_lost(store: StoreReader, stated: Stated, findings: Findings) -> None:
    expected = dict(stated.lost)
    for position, *row in store.rows(
        "SELECT position, epoch, first_sequence, end_sequence, from_uptime_ms, to_uptime_ms, reads, reason, meter_id,"
        " at_ms FROM lost"
    ):
        said = expected.pop(position, None)
        if said is None:
            if position not in stated.unsure:
                findings.add("lost", f"record {position}", "no signed record says so")
        elif row != [*said.lost[:6], said.lost.reason[:80], said.meter_id, said.received_ms]:
            findings.add("lost", f"record {position}", "differs from what was signed")
    for position in expected:
        findings.add("lost", f"record {position}", "is missing")
