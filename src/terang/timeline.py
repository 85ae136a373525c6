"""Puts readings at their time: folds them into a meter's register, and folds again where a late one lands in the past.

The hourly sums and the meter's totals always equal what folding all readings in the order of their time would give.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from terang.kit import Kit, Notify, State, Step, Stretch
from terang.store.group import Group
from terang.store.writer import Row, StoreWriter
from terang.values.quantity import POWER_MW, QUANTITIES
from terang.values.reading import READINGS, Readings, decode_body
from terang.world import Meter

__all__ = ["HOUR_MS", "Dated", "Piece", "Placed", "account", "decide", "pieces_of", "place", "spread"]

HOUR_MS = 3_600_000
_ENVELOPE_SPAN_MS = HOUR_MS  # no plausible envelope spans more, so nothing older can reach into a window
_TWO = 2  # adjacent readings make a regular state
_CODES = tuple(quantity.code for quantity in QUANTITIES)
_EMPTY: tuple[int, ...] = ()


class _Key(NamedTuple):
    """The order of readings: by time, then by place in the log."""

    time_ms: int
    position: int
    place: int


class Placed(NamedTuple):
    """The dated readings of one envelope: UTC of the first and last, the record's position, and whether folding may be
    taken up again after them.
    """

    first_ms: int
    position: int
    last_ms: int
    regular: bool
    body: Readings

    @property
    def last_key(self) -> _Key:
        """Where the last reading stands in the order of readings."""
        return _Key(self.last_ms, self.position, len(self.body.offsets_ms) - 1)


class Piece(NamedTuple):
    """Readings up to the last one of `ends`, the segment after which folding may be regular again."""

    stretch: Stretch
    ends: Placed


class _Refold(NamedTuple):
    steps: list[Step]
    actions: list[Notify]
    ends: list[tuple[Placed, bool]]
    state: State | None


class Dated(NamedTuple):
    """The readings of one envelope once their time is known: the record's `position`, UTC of the first, the columns,
    their exact bytes `raw`, and who attests them.
    """

    position: int
    first_ms: int
    body: Readings
    raw: bytes
    attested_by: int


def place(writer: StoreWriter, group: Group, kit: Kit, meter: Meter, dated: Dated) -> list[Notify]:
    """Take readings into the meter's timeline; what the kit's rules ask for."""
    position, first_ms, body, raw, attested_by = dated
    offsets = body.offsets_ms
    times = (first_ms,) if len(offsets) == 1 else tuple([first_ms + offset for offset in offsets])
    _sum_power(group, meter, times, body.columns.get(POWER_MW, _EMPTY))
    meter.readings += len(times)
    late = (first_ms, position) < (meter.time_ms, meter.position)
    if (times[-1], position) > (meter.time_ms, meter.position):
        columns = body.columns
        meter.time_ms = times[-1]
        meter.position = position
        meter.values = tuple([columns[code][-1] if code in columns else None for code in _CODES])
    if late:
        group.readings.append((meter.id, first_ms, position, times[-1], len(times), attested_by, 0, raw))
        group.flush(writer)
        return _land_late(writer, group, kit, meter, _Key(first_ms, position, 0), times[-1])
    fold = kit.fold(meter.state, Stretch(times, body.columns))
    meter.state = fold.state or None
    meter.regular = fold.regular
    group.readings.append(
        (meter.id, first_ms, position, times[-1], len(times), attested_by, int(fold.regular), raw)
    )
    if fold.steps:
        account(group, meter, fold.steps, 1)
    return list(fold.actions)


def account(group: Group, meter: Meter, steps: Iterable[Step], sign: int) -> None:
    """Add (sign 1) or take back (sign -1) what these steps say, in the hours and in the meter's totals."""
    for step in steps:
        meter.confirmed_mwh += sign * step.confirmed_mwh
        meter.provisional_mwh += sign * step.provisional_mwh
        for hour_ms, confirmed, provisional in spread(step):
            sums = group.hour(meter.id, hour_ms)
            sums.confirmed_mwh += sign * confirmed
            sums.provisional_mwh += sign * provisional
        if step.reason and sign > 0:
            group.steps.append((meter.id, step.from_ms, step.to_ms, step.provisional_mwh, step.reason))


def spread(step: Step) -> list[tuple[int, int, int]]:
    """(hour, confirmed, provisional) of a step [mWh]: over the hours that it covers in proportion to time.

    The parts add up to the step exactly; what rounding leaves goes to the last hour.
    """
    first = step.from_ms - step.from_ms % HOUR_MS
    last = step.to_ms - step.to_ms % HOUR_MS
    length = step.to_ms - step.from_ms
    if first == last or length <= 0:
        return [(last, step.confirmed_mwh, step.provisional_mwh)]
    parts = []
    confirmed_left, provisional_left = step.confirmed_mwh, step.provisional_mwh
    for hour_ms in range(first, last, HOUR_MS):
        inside = min(hour_ms + HOUR_MS, step.to_ms) - max(hour_ms, step.from_ms)
        confirmed = step.confirmed_mwh * inside // length
        provisional = step.provisional_mwh * inside // length
        confirmed_left -= confirmed
        provisional_left -= provisional
        parts.append((hour_ms, confirmed, provisional))
    parts.append((last, confirmed_left, provisional_left))
    return [part for part in parts if part[1] or part[2]]


def _sum_power(group: Group, meter: Meter, times: tuple[int, ...], powers: tuple[int, ...]) -> None:
    first, last = times[0] // HOUR_MS, times[-1] // HOUR_MS
    if first == last:
        sums = group.hour(meter.id, first * HOUR_MS)
        sums.readings += len(times)
        if powers:
            sums.power_sum_mw += sum(powers)
            sums.power_max_mw = max(sums.power_max_mw, *powers)
        return
    for i, time_ms in enumerate(times):
        sums = group.hour(meter.id, time_ms - time_ms % HOUR_MS)
        sums.readings += 1
        if powers:
            sums.power_sum_mw += powers[i]
            sums.power_max_mw = max(sums.power_max_mw, powers[i])


def _land_late(
    writer: StoreWriter, group: Group, kit: Kit, meter: Meter, late: _Key, last_ms: int
) -> list[Notify]:
    """Fold again from the last regular point before the late readings until the state is as it was before them."""
    start = _last_regular(writer, meter.id, late.time_ms)
    resumed = _resume(writer, kit, meter.id, start) if start else None
    from_key = start.last_key if start and resumed else None
    size = 16
    while True:
        window, complete = _window(writer, meter.id, from_key, last_ms, size)
        known = [segment for segment in window if (segment.first_ms, segment.position) != late[:2]]
        before = _refold(kit, resumed, pieces_of(known, from_key))
        after = _refold(kit, resumed, pieces_of(window, from_key))
        if complete or _converged(before, after, last_ms):
            break
        size *= 4
    account(group, meter, before.steps, -1)
    _withdraw(writer, group, meter, before.steps, after.steps)
    account(group, meter, after.steps, 1)
    writer.set_regular(
        [(int(regular), meter.id, s.first_ms, s.position) for s, regular in after.ends if regular != s.regular]
    )
    if complete:
        meter.state = after.state or None
        meter.regular = after.ends[-1][1]
    return [action for action in after.actions if action not in before.actions]


def _converged(before: _Refold, after: _Refold, last_ms: int) -> bool:
    """Whether both folds end regular at the same reading, with two readings after the late ones, so that all after it
    is unchanged.
    """
    if len(before.ends) < _TWO or len(after.ends) < _TWO or before.state != after.state:
        return False
    old, old_regular = before.ends[-1]
    new, new_regular = after.ends[-1]
    return old is new and old_regular and new_regular and after.ends[-2][0].first_ms > last_ms


def _last_regular(writer: StoreWriter, meter_id: int, before_ms: int) -> Placed | None:
    """The newest segment that ends regular before `before_ms`."""
    at, limit = before_ms, 8
    while rows := writer.segments_before(meter_id, at, limit):
        for row in rows:
            segment = _segment(row)
            if segment.regular and segment.last_ms < before_ms:
                return segment
        at, limit = rows[-1][0], limit * 4
    return None


def _window(
    writer: StoreWriter, meter_id: int, from_key: _Key | None, last_ms: int, size: int
) -> tuple[list[Placed], bool]:
    """Segments with readings after `from_key`, `size` of them beyond the late ones; and whether those are all."""
    from_ms = from_key.time_ms - _ENVELOPE_SPAN_MS if from_key else 0
    beyond = writer.segments_after(meter_id, last_ms, size)
    complete = len(beyond) < size
    segments = [_segment(row) for row in writer.segments(meter_id, from_ms, last_ms) + beyond]
    if not complete:
        segments = _cut_clean(segments)
    if from_key is not None:
        segments = [segment for segment in segments if segment.last_key > from_key]
    return segments, complete


def _cut_clean(segments: list[Placed]) -> list[Placed]:
    """The segments up to the last place where all before have ended when the next begins: what comes after the window
    must not reach into it.
    """
    end_ms, cut = -1, 0
    for i, segment in enumerate(segments):
        if segment.first_ms > end_ms:
            cut = i
        end_ms = max(end_ms, segment.last_ms)
    return segments[:cut]


def _resume(writer: StoreWriter, kit: Kit, meter_id: int, start: Placed) -> State | None:
    """The state just after the last reading of `start`; None where there is no reading before that one."""
    end = start.last_key
    near = writer.segments_before(meter_id, end.time_ms + 1, 2)  # the newest two, which have two readings between them
    readings = [item for item in _readings([start, *map(_segment, near)], None) if item[0] <= end]
    known = sorted({key for key, _ in readings})[-2:]
    from_ms = (known[0].time_ms if len(known) == _TWO else 0) - _ENVELOPE_SPAN_MS
    rows = writer.segments(meter_id, from_ms, end.time_ms)
    readings = [item for item in _readings([_segment(row) for row in rows], None) if item[0] <= end][-_TWO:]
    if len(readings) < _TWO:
        return None
    return kit.resume(_stretch(readings))


def _readings(segments: Iterable[Placed], after: _Key | None) -> list[tuple[_Key, Placed]]:
    """Every reading of the segments in order, as (key, its segment), those after `after` only."""
    readings = [
        (_Key(segment.first_ms + offset, segment.position, index), segment)
        for segment in segments
        for index, offset in enumerate(segment.body.offsets_ms)
    ]
    readings.sort(key=lambda item: item[0])
    return [item for item in readings if after is None or item[0] > after]


def pieces_of(segments: Iterable[Placed], after: _Key | None = None) -> list[Piece]:
    """The readings cut after each segment's last one, however the segments interleave."""
    pieces: list[Piece] = []
    gathered: list[tuple[_Key, Placed]] = []
    for key, segment in _readings(segments, after):
        gathered.append((key, segment))
        if key == segment.last_key:
            pieces.append(Piece(_stretch(gathered), segment))
            gathered = []
    return pieces


def _stretch(readings: Sequence[tuple[_Key, Placed]]) -> Stretch:
    codes = set(readings[0][1].body.columns).intersection(*(segment.body.columns for _, segment in readings))
    columns = {
        code: tuple([segment.body.columns[code][key.place] for key, segment in readings]) for code in sorted(codes)
    }
    return Stretch(tuple([key.time_ms for key, _ in readings]), columns)


def _refold(kit: Kit, state: State | None, pieces: Iterable[Piece]) -> _Refold:
    steps: list[Step] = []
    actions: list[Notify] = []
    ends: list[tuple[Placed, bool]] = []
    for piece in pieces:
        fold = kit.fold(state, piece.stretch)
        state = fold.state
        steps += fold.steps
        actions += fold.actions
        ends.append((piece.ends, fold.regular))
    return _Refold(steps, actions, ends, state)


def _withdraw(writer: StoreWriter, group: Group, meter: Meter, before: Iterable[Step], after: Iterable[Step]) -> None:
    """Take back the questions that the late readings have answered, with what a person had counted for them."""
    kept = {(step.from_ms, step.to_ms, step.provisional_mwh, step.reason) for step in after if step.reason}
    for step in before:
        if not step.reason or (step.from_ms, step.to_ms, step.provisional_mwh, step.reason) in kept:
            continue
        for row_id, counted in writer.rows(
            "SELECT id, counted_mwh FROM step WHERE meter_id=? AND from_ms=? AND to_ms=? AND reason=?",
            (meter.id, step.from_ms, step.to_ms, step.reason),
        ):
            if counted is not None:
                decide(group, meter, step, counted, -1)
            writer.execute("DELETE FROM step WHERE id=?", (row_id,))


def decide(group: Group, meter: Meter, step: Step, counted_mwh: int, sign: int) -> None:
    """Move what a person decided of a provisional step from provisional to confirmed (sign 1), or back (sign -1).

    Each part by itself, so that what rounding leaves in which hour is what was put there.
    """
    account(group, meter, [Step(step.from_ms, step.to_ms, counted_mwh, 0, "")], sign)
    account(group, meter, [Step(step.from_ms, step.to_ms, 0, step.provisional_mwh, "")], -sign)


def _segment(row: Row) -> Placed:
    first_ms, position, last_ms, _count, regular, raw = row
    body, _ = decode_body(READINGS, raw, 0)
    return Placed(first_ms, position, last_ms, bool(regular), body)
