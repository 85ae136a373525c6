"""The energy register: what a meter's own counter proves to have been used, and what only a person can decide.

A register remembers a trusted reading B and the *run* it is looking at: neighbouring readings that agree with each
other. Two readings agree where the counter did not fall and did not rise faster than the meter can pass. Nothing is
confirmed by one reading: B moves to a reading only when that reading's neighbour agrees with it, so that one wrong
value, however plausible, never becomes energy. README.md has the reasoning, the proof and the cases.

State, a plain tuple of whole numbers:
    ()                                          nothing read yet
    (b_ms, b_mwh)                               the first reading
    (b_ms, b_mwh, last_ms, last_mwh)            regular: B and the last reading are neighbours that agree
    (b_ms, b_mwh, last_ms, last_mwh, first_ms, first_mwh, count, lone_ms, lone_mwh)
                                                anything else: the run from `first` to `last`, and the lone reading
                                                that agreed with B but was contradicted by its neighbour (-1: none)
One more number at the end (of the first reading's state or the last form) says that the newest reading was left out.

Portable: runs under MicroPython too.
"""

__all__ = [
    "AMBIGUOUS",
    "COUNTER_END_MWH",
    "FALL",
    "JUMP",
    "POWER_MW_MAX",
    "REASONS",
    "REGULAR_SIZE",
    "SLACK_MWH",
    "advance",
    "advance_each",
    "limit_mwh",
]

POWER_MW_MAX = 23000000
"""The most that a PZEM-004T v3 with its 100 A transformer can pass [mW]."""

SLACK_MWH = 2000
"""How much more than POWER_MW_MAX allows two readings may differ [mWh]: the counter moves in steps of 1 Wh, and the
chip brings it up to date a little after the moment at which it is read."""

COUNTER_END_MWH = 10000000000
"""Where the counter begins again at 0 [mWh]: 9999.999 kWh is the last it can say."""

REGULAR_SIZE = 4
"""How many numbers a regular state has."""

FALL = "fall"
JUMP = "jump"
AMBIGUOUS = "ambiguous"
REASONS = (FALL, JUMP, AMBIGUOUS)

_HOUR_MS = 3600000
_NONE = -1
_ENDLESS = 1 << 62
_FIRST_SIZES = (2, 3)
_LEFT_OUT_SIZE = 10
_NEIGHBOURS = 2


def limit_mwh(from_ms: int, to_ms: int, power_mw_max: int = POWER_MW_MAX) -> int:
    """The most that the counter may rise between two moments [mWh]."""
    return (to_ms - from_ms) * power_mw_max // _HOUR_MS + SLACK_MWH


def advance(
    state: tuple[int, ...],
    times_ms: tuple[int, ...],
    counters_mwh: tuple[int, ...],
    voltages_mv: tuple[int, ...],
    power_mw_max: int,
) -> tuple[tuple[int, ...], tuple[tuple[int, int, int, int, str], ...]]:
    """(state, steps) after these readings; equal to `advance_each`, but at once where all is in order.

    `times_ms` never fall; `counters_mwh` is the meter's counter; `voltages_mv` may be empty where it is not measured.
    A step is (from_ms, to_ms, confirmed_mwh, provisional_mwh, reason). Energy is confirmed up to the reading before
    the last one.
    """
    if len(times_ms) < _NEIGHBOURS or len(state) != REGULAR_SIZE:
        return advance_each(state, times_ms, counters_mwh, voltages_mv, power_mw_max)
    before_ms, before_mwh = times_ms[-2], counters_mwh[-2]
    if state[0] // _HOUR_MS != (before_ms - 1) // _HOUR_MS or 0 in voltages_mv:
        return advance_each(state, times_ms, counters_mwh, voltages_mv, power_mw_max)
    rises = [b - a for a, b in zip(counters_mwh, counters_mwh[1:])]  # noqa: RUF007 - MicroPython has no itertools
    rises.append(counters_mwh[0] - state[3])
    waits = [b - a for a, b in zip(times_ms, times_ms[1:])]  # noqa: RUF007
    waits.append(times_ms[0] - state[2])
    shortest = min(waits)
    if shortest <= 0 or min(rises) < 0 or max(rises) > shortest * power_mw_max // _HOUR_MS + SLACK_MWH:
        return advance_each(state, times_ms, counters_mwh, voltages_mv, power_mw_max)
    after = (before_ms, before_mwh, times_ms[-1], counters_mwh[-1])
    if before_mwh == state[1]:
        return after, ()
    return after, ((state[0], before_ms, before_mwh - state[1], 0, ""),)


def advance_each(
    state: tuple[int, ...],
    times_ms: tuple[int, ...],
    counters_mwh: tuple[int, ...],
    voltages_mv: tuple[int, ...],
    power_mw_max: int,
) -> tuple[tuple[int, ...], tuple[tuple[int, int, int, int, str], ...]]:
    """(state, steps) after these readings, one by one: the meaning of `advance`."""
    steps: list[tuple[int, int, int, int, str]] = []
    for i in range(len(times_ms)):
        voltage_mv = voltages_mv[i] if voltages_mv else 1
        state = _advance_one(state, times_ms[i], counters_mwh[i], voltage_mv, power_mw_max, steps)
    return state, tuple([step for step in steps if step[4] or step[2]])


def _advance_one(
    state: tuple[int, ...],
    now_ms: int,
    now_mwh: int,
    voltage_mv: int,
    power_mw_max: int,
    steps: list[tuple[int, int, int, int, str]],
) -> tuple[int, ...]:
    size = len(state)
    if size == REGULAR_SIZE:
        b_ms, b_mwh, last_ms, last_mwh = state
        wait = now_ms - last_ms
        if voltage_mv and wait > 0 and 0 <= now_mwh - last_mwh <= wait * power_mw_max // _HOUR_MS + SLACK_MWH:
            _confirm(steps, b_ms, last_ms, last_mwh - b_mwh)
            return (last_ms, last_mwh, now_ms, now_mwh)
        state = _irregular(state)
    elif size == 0:
        return (now_ms, now_mwh) if voltage_mv else ()
    known = state[:2] if size in _FIRST_SIZES else state[:9]
    newest = state[0:2] if size in _FIRST_SIZES else state[2:4]
    if voltage_mv == 0 or now_ms < newest[0] or (now_ms, now_mwh) == newest:
        # no mains, no answer: a reading of 0 V is a broken one; and what was read twice was still used once
        return known + (1,)
    if size in _FIRST_SIZES:
        agrees = _agrees(state[0], state[1], now_ms, now_mwh, power_mw_max)
        after = known + (now_ms, now_mwh)
        return after if agrees and size == _NEIGHBOURS else _irregular(after)
    after = _weigh(known, now_ms, now_mwh, power_mw_max, steps)
    return _irregular(after) if len(after) == REGULAR_SIZE and size == _LEFT_OUT_SIZE else after


def _irregular(state: tuple[int, ...]) -> tuple[int, ...]:
    """The long form of B and one reading, for where they are not neighbours or do not agree."""
    return state + (state[2], state[3], 1, _NONE, 0)


def _agrees(from_ms: int, from_mwh: int, to_ms: int, to_mwh: int, power_mw_max: int) -> bool:
    return 0 <= to_mwh - from_mwh <= (to_ms - from_ms) * power_mw_max // _HOUR_MS + SLACK_MWH


def _weigh(
    state: tuple[int, ...],
    now_ms: int,
    now_mwh: int,
    power_mw_max: int,
    steps: list[tuple[int, int, int, int, str]],
) -> tuple[int, ...]:
    """One reading against a state that is not regular."""
    b_ms, b_mwh, last_ms, last_mwh, first_ms, first_mwh, count, lone_ms, lone_mwh = state
    last_on_line = _agrees(b_ms, b_mwh, last_ms, last_mwh, power_mw_max)
    if not _agrees(last_ms, last_mwh, now_ms, now_mwh, power_mw_max):
        if count == 1 and last_on_line:
            lone_ms, lone_mwh = last_ms, last_mwh
        return (b_ms, b_mwh, now_ms, now_mwh, now_ms, now_mwh, 1, lone_ms, lone_mwh)
    if last_on_line:
        if count == 1:
            _close(steps, state, power_mw_max)
        else:
            _close_ambiguous(steps, state, power_mw_max)
        return (last_ms, last_mwh, now_ms, now_mwh)
    if count == 1 or _agrees(b_ms, b_mwh, now_ms, now_mwh, power_mw_max):
        return (b_ms, b_mwh, now_ms, now_mwh, first_ms, first_mwh, count + 1, lone_ms, lone_mwh)
    _close_break(steps, state, power_mw_max)
    return (last_ms, last_mwh, now_ms, now_mwh)


def _close(steps: list[tuple[int, int, int, int, str]], state: tuple[int, ...], power_mw_max: int) -> None:
    """The run continues from B. A lone reading above it was a wrong value, or else the counter was reset after it."""
    b_ms, b_mwh, last_ms, last_mwh, _, _, _, lone_ms, lone_mwh = state
    if lone_ms == _NONE or lone_mwh <= last_mwh or last_mwh > limit_mwh(lone_ms, last_ms, power_mw_max):
        _confirm(steps, b_ms, last_ms, last_mwh - b_mwh)
        return
    confirmed = last_mwh - b_mwh
    doubtful = min(lone_mwh, limit_mwh(b_ms, last_ms, power_mw_max) - confirmed)
    steps.append((b_ms, last_ms, confirmed, doubtful, AMBIGUOUS))


def _close_ambiguous(steps: list[tuple[int, int, int, int, str]], state: tuple[int, ...], power_mw_max: int) -> None:
    """The run began off B's line and came back to it: wrong values, or a real break and much energy since."""
    b_ms, b_mwh, last_ms, last_mwh, first_ms, first_mwh, count, lone_ms, lone_mwh = state
    if first_mwh > b_mwh:
        confirmed = last_mwh - first_mwh
        doubtful = first_mwh - b_mwh
    else:
        confirmed = last_mwh - b_mwh
        top_ms, top_mwh = (b_ms, b_mwh) if lone_ms == _NONE else (lone_ms, lone_mwh)
        most = limit_mwh(top_ms, first_ms, power_mw_max)
        if _rolled_mwh(top_mwh, first_mwh) <= most:
            doubtful = COUNTER_END_MWH
        elif first_mwh <= most or count > _NEIGHBOURS:
            doubtful = top_mwh
        else:  # one value, too high for the time since any reset: simply wrong
            _confirm(steps, b_ms, last_ms, confirmed)
            return
    most = limit_mwh(b_ms, last_ms, power_mw_max)
    steps.append((b_ms, last_ms, confirmed, min(doubtful, most - confirmed), AMBIGUOUS))


def _close_break(steps: list[tuple[int, int, int, int, str]], state: tuple[int, ...], power_mw_max: int) -> None:
    """Three neighbours agree with each other and not with B: the counter really stands elsewhere now."""
    b_ms, b_mwh, last_ms, last_mwh, first_ms, first_mwh, _, lone_ms, lone_mwh = state
    top_ms, top_mwh = (b_ms, b_mwh) if lone_ms == _NONE else (lone_ms, lone_mwh)
    most = limit_mwh(top_ms, first_ms, power_mw_max)
    reason = JUMP if first_mwh > b_mwh else FALL
    if first_mwh > top_mwh:
        since = first_mwh - top_mwh
    else:
        since = _rolled_mwh(top_mwh, first_mwh)
        if since > most:
            since = first_mwh
    steps.append((b_ms, first_ms, 0, top_mwh - b_mwh + min(since, most), reason))
    _confirm(steps, first_ms, last_ms, last_mwh - first_mwh)


def _rolled_mwh(top_mwh: int, first_mwh: int) -> int:
    """What was used if the counter fell because it began again at 0; without end for a counter that never does."""
    return COUNTER_END_MWH - top_mwh + first_mwh if top_mwh < COUNTER_END_MWH else _ENDLESS


def _confirm(steps: list[tuple[int, int, int, int, str]], from_ms: int, to_ms: int, energy_mwh: int) -> None:
    """Add certain energy; what touches the step before within one UTC hour becomes one step with it."""
    if steps:
        last = steps[-1]
        if last[1] == from_ms and not last[4] and last[0] // _HOUR_MS == (to_ms - 1) // _HOUR_MS:
            steps[-1] = (last[0], to_ms, last[2] + energy_mwh, 0, "")
            return
    steps.append((from_ms, to_ms, energy_mwh, 0, ""))
