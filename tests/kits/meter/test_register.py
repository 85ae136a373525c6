"""The energy register against a simulated counter that knows the truth."""

import random
from collections.abc import Callable
from typing import NamedTuple

from terang.kit import Fold, State, Step, Stretch
from terang.kits.meter import KIT, model
from terang.values import quantity

Count = Callable[[int, int], int]
BEGIN_MS = 1_763_600_000_000
END = 1 << 60
WH = 1000
END_WH = 10_000_000
MWMS_PER_WH = 3_600_000_000


class Read(NamedTuple):
    """One reading as it was served, and what the meter had truly counted by then."""

    time_ms: int
    voltage_mv: int
    counter_mwh: int
    true_wh: int
    wrong: bool


class Meter:
    """A counter in 1 Wh steps, with its total kept apart from what it shows."""

    def __init__(self, rng: random.Random, shown_wh: int) -> None:
        self.rng = rng
        self.shown_wh = shown_wh
        self.total_wh = 0
        self.rest = rng.randrange(MWMS_PER_WH)
        self.power_mw = 0
        self.resets = 0

    def run(self, ms: int) -> None:
        if self.rng.random() < 0.2:
            self.power_mw = self.rng.choice((0, 400, 60_000, 600_000, 2_200_000, 11_000_000))
        self.rest += self.power_mw * ms
        counted, self.rest = divmod(self.rest, MWMS_PER_WH)
        self.total_wh += counted
        self.shown_wh += counted
        if self.shown_wh >= END_WH:
            self.shown_wh -= END_WH
            self.resets += 1

    def reset(self) -> None:
        self.shown_wh = 0
        self.rest = 0
        self.resets += 1


def wrong_counter_wh(rng: random.Random, shown_wh: int, wait_ms: int) -> int:
    """A single wrong value: impossible, zero, or as plausible as can be."""
    reach = model.limit_mwh(0, wait_ms) // WH
    kind = rng.randrange(5)
    if kind == 0:
        return rng.choice((END_WH - 1, 4_294_967, 65_536, shown_wh * 2 + 1))
    if kind == 1:
        return rng.choice((0, 0, 1))
    if kind == 2:
        return shown_wh + rng.randint(1, max(1, min(reach, 100_000)))
    if kind == 3:
        return max(0, shown_wh - rng.randint(1, max(1, min(reach, 100_000))))
    return shown_wh + rng.choice((-1, 1, 2, 5, 10))


def history(rng: random.Random, *, resets: bool, first_may_be_wrong: bool = False) -> tuple[list[Read], int]:
    """(readings in the order of their time, resets and roll-overs among them); wrong values stand alone."""
    start_wh = rng.choice((0, 0, rng.randrange(30), rng.randrange(100_000), END_WH - 1 - rng.randrange(200)))
    if not resets:
        start_wh = min(start_wh, END_WH // 2)
    meter = Meter(rng, start_wh)
    wait_ms = rng.choice((200, 1_000, 1_000, 10_000, 60_000, 3_600_000))
    now_ms = BEGIN_MS + rng.randrange(7_200_000)
    wrongs, breaks = rng.choice((0.0, 0.05, 0.2, 0.5)), rng.choice((0.0, 0.02, 0.2)) if resets else 0.0
    reads: list[Read] = []
    for i in range(rng.randint(2, 60)):
        ms = wait_ms + rng.randrange(wait_ms // 4 + 1)
        if rng.random() < 0.08:
            ms *= rng.choice((3, 30, 300, 3_000))
        if rng.random() < breaks:
            early = rng.randrange(ms)
            meter.run(early)
            meter.reset()
            meter.run(ms - early)
        else:
            meter.run(ms)
        now_ms += ms
        voltage_mv = rng.randint(190_000, 245_000)
        may_be_wrong = (i > 0 or first_may_be_wrong) and not (reads and reads[-1].wrong)
        if may_be_wrong and rng.random() < wrongs:
            shown_wh = max(0, wrong_counter_wh(rng, meter.shown_wh, ms))
            if shown_wh == END_WH - 1 and rng.random() < 0.7:
                voltage_mv = 0
            reads.append(Read(now_ms, voltage_mv, shown_wh * WH, meter.total_wh, wrong=shown_wh != meter.shown_wh))
        else:
            reads.append(Read(now_ms, voltage_mv, meter.shown_wh * WH, meter.total_wh, wrong=False))
        if rng.random() < 0.05:
            reads.append(reads[-1])
    for _ in range(4):  # ends in peace, so that the last increments have their neighbours
        meter.run(wait_ms)
        now_ms += wait_ms
        reads.append(Read(now_ms, 220_000, meter.shown_wh * WH, meter.total_wh, wrong=False))
    return reads, meter.resets


def stretch(reads: list[Read]) -> Stretch:
    return Stretch(
        tuple(read.time_ms for read in reads),
        {
            quantity.VOLTAGE_MV: tuple(read.voltage_mv for read in reads),
            quantity.ENERGY_MWH: tuple(read.counter_mwh for read in reads),
            quantity.POWER_MW: tuple(0 for _ in reads),
        },
    )


def confirmed(steps: tuple[Step, ...] | list[Step]) -> int:
    return sum(step.confirmed_mwh for step in steps)


def true_mwh(reads: list[Read], until_ms: int) -> int:
    first = next(read for read in reads if read.voltage_mv)
    return max((read.true_wh - first.true_wh) * WH for read in reads if read.time_ms <= until_ms)


def fold_in_pieces(rng: random.Random, reads: list[Read]) -> list[Fold]:
    folds: list[Fold] = []
    state: State | None = None
    at = 0
    while at < len(reads):
        end = at + rng.choice((1, 1, 2, 7, 60))
        folds.append(KIT.fold(state, stretch(reads[at:end])))
        state = folds[-1].state
        at = end
    return folds


def test_confirmed_energy_is_never_above_the_true_energy(soak: Count) -> None:
    """Under resets, roll-over, gaps, outages, duplicates and lone wrong values, at every moment of every history."""
    n = soak(10_000, 500)
    broken = 0
    for seed in range(n):
        rng = random.Random(seed)
        reads, resets = history(rng, resets=True)
        broken += resets > 0
        total = 0
        for fold in fold_in_pieces(rng, reads):
            for step in fold.steps:
                assert step.confirmed_mwh >= 0, seed
                assert step.provisional_mwh >= 0, seed
                assert bool(step.reason) or not step.provisional_mwh, seed
                assert step.from_ms <= step.to_ms, seed
                total += step.confirmed_mwh
            assert total <= true_mwh(reads, fold.state[2 if len(fold.state) > 3 else 0] if fold.state else END), seed
    assert broken > n // 5


def test_confirmed_energy_equals_the_true_energy_where_nothing_is_unknowable(soak: Count) -> None:
    """Without resets every Wh is confirmed, but where a wrong value was backed by its neighbour: there it waits."""
    n = soak(10_000, 500)
    waiting = compared = 0
    for seed in range(n):
        rng = random.Random(seed)
        reads, rolled = history(rng, resets=False)
        if rolled:
            continue
        compared += 1
        steps = [step for fold in fold_in_pieces(rng, reads) for step in fold.steps]
        truth = true_mwh(reads, KIT.fold(None, stretch(reads)).state[0])
        if confirmed(steps) != truth:
            waiting += 1
            assert any(step.reason == model.AMBIGUOUS and step.provisional_mwh for step in steps), seed
            assert confirmed(steps) < truth <= confirmed(steps) + sum(step.provisional_mwh for step in steps), seed
    print("compared", compared, "waiting", waiting)
    assert compared > n * 9 // 10
    assert waiting <= n // 50


def test_a_late_reading_is_taken_up_again_from_any_regular_point(soak: Count) -> None:
    """Folding again from a regular point to where it is regular again gives what folding everything in order gives."""
    n = soak(10_000, 500)
    taken_up = 0
    for seed in range(n):
        rng = random.Random(seed)
        whole, _ = history(rng, resets=rng.random() < 0.5)
        whole = sorted(set(whole), key=lambda read: read.time_ms)
        late = rng.randrange(len(whole))
        known = whole[:late] + whole[late + 1 :]
        before = one_by_one(known)
        starts = [i for i in range(1, late) if before[i].regular]
        if not starts:
            continue
        start = rng.choice(starts)
        steps = [step for fold in before[: start + 1] for step in fold.steps]
        assert all(step.to_ms <= known[start - 1].time_ms for step in steps), seed
        state = KIT.resume(stretch(known[start - 1 : start + 1]))
        assert state == before[start].state, seed
        end = start
        for i, read in enumerate(whole[start + 1 :], start + 1):
            fold = KIT.fold(state, stretch([read]))
            state = fold.state
            steps += fold.steps
            end = i - 1  # where this reading stands in `known`
            if i > late + 1 and fold.regular and before[end].regular:
                assert fold.state == before[end].state, seed
                taken_up += 1
                break
        steps += [step for fold in before[end + 1 :] for step in fold.steps]
        assert steps == [step for fold in one_by_one(whole) for step in fold.steps], seed
    assert taken_up > n // 2


def one_by_one(reads: list[Read]) -> list[Fold]:
    folds: list[Fold] = []
    state: State | None = None
    for read in reads:
        folds.append(KIT.fold(state, stretch([read])))
        state = folds[-1].state
    return folds


def test_the_fast_path_equals_the_slow_one(soak: Count) -> None:
    """`advance` and `advance_each` give the same state and steps for any cut of any history."""
    n = soak(10_000, 500)
    fast = 0
    for seed in range(n):
        rng = random.Random(seed)
        reads, _ = history(rng, resets=rng.random() < 0.3)
        state: State = ()
        at = 0
        while at < len(reads):
            end = at + rng.choice((1, 2, 5, 60))
            piece = stretch(reads[at:end])
            columns = (piece.times_ms, piece.columns[quantity.ENERGY_MWH], piece.columns[quantity.VOLTAGE_MV])
            quick = model.advance(state, *columns, model.POWER_MW_MAX)
            assert quick == model.advance_each(state, *columns, model.POWER_MW_MAX), seed
            fast += end - at > 1 and len(state) == 4 and len(quick[0]) == 4
            state = quick[0]
            at = end
    assert fast > n // 4


def test_how_a_history_is_cut_does_not_change_an_hour(soak: Count) -> None:
    """State, provisional steps and the confirmed energy of every UTC hour are the same in pieces and as a whole."""
    for seed in range(soak(10_000, 500)):
        rng = random.Random(seed)
        reads, _ = history(rng, resets=True)
        pieces = fold_in_pieces(rng, reads)
        whole = KIT.fold(None, stretch(reads))
        assert pieces[-1].state == whole.state, seed
        steps = [step for fold in pieces for step in fold.steps]
        assert by_hour(steps) == by_hour(whole.steps), seed
        assert [step for step in steps if step.reason] == [step for step in whole.steps if step.reason], seed


def by_hour(steps: tuple[Step, ...] | list[Step]) -> dict[tuple[int, int], int]:
    """Confirmed energy by hour, or by the step itself where it crosses into another hour."""
    hours: dict[tuple[int, int], int] = {}
    for step in steps:
        begin, end = step.from_ms // 3_600_000, (step.to_ms - 1) // 3_600_000
        key = (begin, begin) if begin == end else (step.from_ms, step.to_ms)
        if step.confirmed_mwh:
            hours[key] = hours.get(key, 0) + step.confirmed_mwh
    return hours


def test_a_notice_goes_out_for_every_step_that_waits() -> None:
    """Every step with a reason brings one notice to the owner, at the step's end."""
    seen = set()
    jump = [Read(BEGIN_MS + i * 1000, 1, wh * WH, 0, wrong=False) for i, wh in enumerate((1, 1, 900, 900, 900))]
    for reads in (jump, *(history(random.Random(seed), resets=True)[0] for seed in range(200))):
        fold = KIT.fold(None, stretch(reads))
        waiting = [step for step in fold.steps if step.reason]
        assert [(f"meter_{step.reason}", step.to_ms) for step in waiting] == [tuple(a[:2]) for a in fold.actions]
        seen |= {step.reason for step in waiting}
    assert seen == set(model.REASONS)


def test_readings_without_a_counter_change_nothing() -> None:
    """A reading that lacks the energy column leaves the state as it was, and is no point to take up again."""
    before = KIT.fold(None, stretch([Read(BEGIN_MS, 1, 0, 0, False), Read(BEGIN_MS + 1000, 1, 0, 0, False)]))
    after = KIT.fold(before.state, Stretch((BEGIN_MS + 2000,), {quantity.VOLTAGE_MV: (220_000,)}))
    assert before.regular
    assert after == Fold(before.state, (), (), False)


def test_a_reading_at_0_v_vouches_for_nothing() -> None:
    """However well its counter fits, it moves nothing, and the state after it is no point to take up again."""
    reads = [Read(BEGIN_MS + i * 10_000, 220_000, (100 + i) * WH, 0, wrong=False) for i in range(4)]
    before = KIT.fold(None, stretch(reads[:2]))
    dark = KIT.fold(before.state, stretch([reads[2]._replace(voltage_mv=0)]))
    assert before.regular
    assert (dark.steps, dark.regular) == ((), False)
    after = KIT.fold(dark.state, stretch([reads[3]]))
    assert confirmed(after.steps) == 1 * WH
    assert not after.regular
