"""The tables that pages read, computed again from the signed readings: readings, hours, last values, steps, losses."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from terang.audit.findings import Findings, Progress
from terang.audit.records import Stated
from terang.kit import Kit, State, Step
from terang.store.reader import StoreReader
from terang.timeline import HOUR_MS, Placed, pieces_of, spread
from terang.values import cbor
from terang.values.errors import CodecError
from terang.values.quantity import POWER_MW, QUANTITIES
from terang.values.reading import READINGS, decode_body

__all__ = ["check_derived"]

_CHUNK = 2000
_CODES = tuple(quantity.code for quantity in QUANTITIES)
_NAMES = tuple(quantity.name for quantity in QUANTITIES)


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
    for table in ("reading", "undated"):
        for meter_id, position in store.rows(
            f"SELECT g.meter_id, g.position FROM {table} g LEFT JOIN record r ON r.position = g.position"  # noqa: S608
            " WHERE r.position IS NULL OR r.state <> 0 OR r.meter_id <> g.meter_id"
        ):
            findings.add(table, f"readings of meter {meter_id} in record {position}", "no signed envelope says so")
    counts = Counter(
        dict(store.rows("SELECT meter_id, count(*) FROM reading GROUP BY meter_id"))
    ) + Counter(dict(store.rows("SELECT meter_id, count(*) FROM undated GROUP BY meter_id")))
    for meter_id in counts.keys() | stated.readings.keys():
        if counts[meter_id] != stated.readings[meter_id]:
            detail = f"has {counts[meter_id]} rows for {stated.readings[meter_id]} signed envelopes"
            findings.add("reading", f"meter {meter_id}", detail)


@dataclass(slots=True)
class _Sums:
    """What one meter's readings give, folded in the order of their time."""

    steps: list[Step] = field(default_factory=list)
    hours: dict[int, list[int]] = field(default_factory=dict)
    readings: int = 0
    newest: Placed | None = None
    state: State | None = None

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
    for cluster in _clusters(_segments(store, meter_id, findings)):
        for segment in cluster:
            sums.add(segment)
        for piece in pieces_of(cluster):
            fold = kit.fold(sums.state, piece.stretch)
            sums.state = fold.state
            sums.steps += [step for step in fold.steps if step.reason]
            for step in fold.steps:
                _spread(sums, step)
            if fold.regular != piece.ends.regular:
                name = f"readings of meter {meter_id} in record {piece.ends.position}"
                findings.add("reading", name, "where folding may be taken up again differs")
    decided = {key: counted for key, counted in stated.decided.items() if key[0] == meter_id}
    for step in _check_steps(store, meter_id, sums.steps, decided, findings):
        _spread(sums, step._replace(provisional_mwh=0))
        _spread(sums, step._replace(confirmed_mwh=0), sign=-1)
    _check_hours(store, meter_id, sums, findings)
    _check_latest(store, meter_id, sums, findings)


def _spread(sums: _Sums, step: Step, sign: int = 1) -> None:
    for hour_ms, confirmed, provisional in spread(step):
        row = sums.hour(hour_ms)
        row[0] += sign * confirmed
        row[1] += sign * provisional


def _segments(store: StoreReader, meter_id: int, findings: Findings) -> Iterator[Placed]:
    at = (-1, -1)
    while rows := store.rows(
        "SELECT first_ms, position, last_ms, regular, body FROM reading"
        " WHERE meter_id=? AND (first_ms, position) > (?, ?) ORDER BY first_ms, position LIMIT ?",
        (meter_id, *at, _CHUNK),
    ):
        for first_ms, position, last_ms, regular, raw in rows:
            try:
                body = decode_body(READINGS, raw, 0)[0]
            except (CodecError, TypeError):
                findings.add("reading", f"readings of meter {meter_id} in record {position}", "cannot be decoded")
                continue
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
    store: StoreReader,
    meter_id: int,
    steps: list[Step],
    decided: Mapping[tuple[int, int, int, str], int],
    findings: Findings,
) -> list[Step]:
    """Compare the questions that people have to answer; what their answers moved, as steps."""
    expected = {(step.from_ms, step.to_ms, step.reason): step for step in steps if step.reason}
    moved = []
    for from_ms, to_ms, reason, provisional, counted in store.rows(
        "SELECT from_ms, to_ms, reason, provisional_mwh, counted_mwh FROM step WHERE meter_id=?", (meter_id,)
    ):
        name = f"step of meter {meter_id} from {from_ms} to {to_ms} ({reason})"
        step = expected.pop((from_ms, to_ms, reason), None)
        if step is None or step.provisional_mwh != provisional:
            findings.add("step", name, "is not what the signed readings give")
            continue
        answer = decided.get((meter_id, from_ms, to_ms, reason))
        if counted != answer:
            findings.add("step", name, f"counts {counted} mWh, and the signed decision says {answer}")
        if answer is not None:
            moved.append(Step(from_ms, to_ms, answer, provisional, ""))
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


def _check_latest(store: StoreReader, meter_id: int, sums: _Sums, findings: Findings) -> None:
    rows = store.rows(
        f"SELECT time_ms, position, readings, confirmed_mwh, provisional_mwh, state, {', '.join(_NAMES)} FROM latest"  # noqa: S608
        " WHERE meter_id=?",
        (meter_id,),
    )
    name, newest = f"last values of meter {meter_id}", sums.newest
    if newest is None:
        if rows and rows[0][2]:
            findings.add("latest", name, "no signed readings say so")
        return
    if not rows:
        findings.add("latest", name, "are missing")
        return
    time_ms, position, readings, confirmed, provisional, raw, *values = rows[0]
    expected: list[Any] = [newest.body.columns[code][-1] if code in newest.body.columns else None for code in _CODES]
    if (time_ms, position, values) != (newest.last_ms, newest.position, expected):
        findings.add("latest", name, f"say {values} at {time_ms}, and the newest signed reading {expected}")
    if readings != sums.readings:
        findings.add("latest", name, f"count {readings} readings, and {sums.readings} were signed")
    totals = (sum(row[0] for row in sums.hours.values()), sum(row[1] for row in sums.hours.values()))
    if (confirmed, provisional) != totals:
        findings.add("latest", name, f"total {(confirmed, provisional)} mWh, and the signed readings give {totals}")
    if raw != cbor.encode_column(sums.state or ()):
        findings.add("latest", name, "the state of the register is not what the signed readings give")


def _check_lost(store: StoreReader, stated: Stated, findings: Findings) -> None:
    expected = dict(stated.lost)
    for position, *row in store.rows(
        "SELECT position, epoch, first_sequence, end_sequence, from_uptime_ms, to_uptime_ms, reads, reason FROM lost"
    ):
        lost = expected.pop(position, None)
        if lost is None or tuple(row) != (*lost[:6], lost.reason[:80]):
            findings.add("lost", f"record {position}", "differs from what was signed")
    for position in expected:
        findings.add("lost", f"record {position}", "is missing")
