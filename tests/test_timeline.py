"""Readings come in any order; hours, totals, steps and states are those of the order of their time."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terang.kit import Step
from terang.testing import FakeDevice, MiniPlatform, moment
from terang.timeline import HOUR_MS, spread
from terang.values.command import DecideStep
from terang.values.errors import UsageError

BEGIN = 1_763_600_400_000  # twenty past the hour


def counters(r, times):
    """What a meter with resets, glitches and gaps shows at these times."""
    true, shown = 0, []
    for before, now in pairwise([times[0], *times]):
        true += (now - before) * r.choice((0, 50_000, 2_000_000)) // HOUR_MS
        what = r.random()
        if what < 0.04:
            true = r.choice((0, true // 2))
        if what > 0.95:
            shown.append(moment(true + r.choice((5_000_000, 400)), voltage_mv=r.choice((0, 220_000))))
        elif what > 0.92:
            shown.append(moment(true + 90_000_000))
        else:
            shown.append(moment(true, power_mw=r.choice((0, 5_000, 1_000_000, -700))))
    return shown


def history(r, *, interleave):
    """Envelopes of two epochs in the order of their first reading, all at different times."""
    n = r.randrange(3, 120)
    every = r.choice(((1_000,), (1_000, 900_000), (10_000, 3_000_000), (777, HOUR_MS + 13)))
    times = [BEGIN]
    for _ in range(n):
        times.append(times[-1] + r.choice(every))
    shown = dict(zip(times, counters(r, times), strict=True))
    device, groups, left = FakeDevice(1), [], list(times)
    while left:
        size = r.choice((1, 1, 2, 5, 20))
        step = r.choice((1, 1, 2, 3)) if interleave else 1
        group = [time for time in left[: size * step : step] if time - left[0] <= HOUR_MS]
        groups.append(group)
        left = [time for time in left if time not in set(group)]
    made = []
    for i, group in enumerate(groups):
        if i == len(groups) // 2:
            device.restart(2)
        offsets = [time - group[0] for time in group]
        made.append(device.readings([shown[time] for time in group], utc_ms=group[0], offsets_ms=offsets))
    return made


def shuffled(r, made):
    """Another order: a little late, hours late, or anything."""
    how = r.random()
    if how < 0.3:
        order = list(made)
        r.shuffle(order)
        return order
    if how < 0.6:
        reach = r.choice((1, 3, 30))
        return [data for _, data in sorted(enumerate(made), key=lambda item: item[0] + r.uniform(0, reach))]
    held = [data for data in made if r.random() < 0.2]
    rest = [data for data in made if data not in held]
    at = r.randrange(len(rest) + 1)
    return rest[:at] + held + rest[at:]


def tables(platform):
    """All that a meter's timeline is, without what depends on the order of arrival."""
    rows = platform.writer.rows
    return {
        "hour": [row for row in rows("SELECT * FROM hour ORDER BY 1, 2") if any(row[2:])],
        "latest": rows(
            "SELECT time_ms, voltage_mv, power_mw, energy_mwh, readings, confirmed_mwh, provisional_mwh, regular, state"
            " FROM latest"
        ),
        "step": rows("SELECT from_ms, to_ms, provisional_mwh, reason, counted_mwh FROM step ORDER BY 1, 2, 4"),
        "reading": rows("SELECT first_ms, last_ms, count, regular, body FROM reading ORDER BY first_ms"),
    }


@pytest.fixture(scope="module")
def lay(tmp_path_factory):
    """`lay(envelopes, groups)` is a platform that got these in this order."""
    opened = []

    def make(made, r=None):
        platform = MiniPlatform(tmp_path_factory.mktemp("house"))
        platform.clock.set_now_ms(BEGIN + 30 * 24 * HOUR_MS)
        platform.adopt(FakeDevice(1))
        opened.append(platform)
        at = 0
        while at < len(made):
            size = r.choice((1, 2, 7, 1000)) if r else 1000
            platform.take(*made[at : at + size])
            at += size
        return platform

    yield make
    for platform in opened:
        platform.close()


def first_difference(found, wanted):
    """Where two sets of tables differ, shortly."""
    return {
        name: (
            [row for row in found[name] if row not in wanted[name]][:3],
            [row for row in wanted[name] if row not in found[name]][:3],
        )
        for name in wanted
        if found[name] != wanted[name]
    }


@pytest.mark.parametrize("interleave", [False, True])
@pytest.mark.timeout(1200)
def test_any_order_of_arrival_gives_the_timeline_of_the_order_of_time(lay, soak, interleave):
    """Resets, glitches, gaps, two epochs, segments in each other, hours late, in groups or one by one: the same hours,
    totals, steps and state as in order; memory is the store; and the audit finds nothing."""
    for seed in range(soak(400, 25)):
        r = random.Random(seed)
        made = history(r, interleave=interleave)
        wanted = tables(lay(made))
        platform = lay(shuffled(r, made), r)
        found = tables(platform)
        assert found == wanted, (seed, first_difference(found, wanted))
        (meter,) = platform.pipeline.world.meters.values()
        assert platform.writer.rows("SELECT * FROM latest") == [meter.row()]
        if seed % 10 == 0:
            platform.anchor()
            assert platform.audit().kept == []


def braided(r):
    """Envelopes of two readings far apart: some twenty are open at any moment, and a glitch lies in every tenth."""
    n, reach = r.randrange(60, 120), r.choice((5, 20, 25))
    energy, device, made = 0, FakeDevice(1), []
    shown = []
    for _ in range(n + reach + 1):
        energy += r.choice((0, 1000, 3000))
        shown.append(moment(energy + (r.choice((900_000_000, -energy)) if r.random() < 0.1 else 0)))
    for i in range(n):
        values = [shown[i], shown[i + reach]]
        made.append(device.readings(values, utc_ms=BEGIN + 20_000 * i, offsets_ms=(0, 20_000 * reach + 7)))
    return made


@pytest.mark.timeout(1200)
def test_envelopes_that_lie_across_each_other(lay, soak):
    """Where no moment is free of open envelopes, a late one still leaves the timeline of the order of time."""
    for seed in range(soak(100, 12)):
        r = random.Random(seed)
        made = braided(r)
        wanted = tables(lay(made))
        at = r.randrange(3, len(made) // 2)
        order = [data for i, data in enumerate(made) if i not in (at, at + 1)] + made[at : at + 2]
        found = tables(lay(order))
        assert found == wanted, (seed, first_difference(found, wanted))


@pytest.mark.timeout(1200)
def test_readings_of_one_moment_stand_in_the_order_of_the_log(lay, soak):
    """Where times are equal the place in the log decides, for those dated late too; the audit finds the same."""
    for seed in range(soak(300, 25)):
        r = random.Random(seed)
        platform = lay([])
        device, other = FakeDevice(1), FakeDevice(1, epoch=7)
        now = BEGIN
        for _ in range(r.randrange(3, 20)):
            now += r.choice((0, 0, 1000, HOUR_MS // 2))
            at = now - r.choice((0, 0, 1000, 5000))
            values = [moment(r.choice((0, 100, 5000))) for _ in range(r.choice((1, 1, 3)))]
            one = r.choice((device, other))
            if r.random() < 0.4:
                platform.take(one.readings(values, utc_ms=None, uptime_ms=at - BEGIN + 10_000))
            else:
                platform.take(one.readings(values, utc_ms=at))
            if r.random() < 0.2:
                platform.take(one.time(now - BEGIN + 10_000, now))
        platform.take(device.time(now - BEGIN + 10_000, now), other.time(now - BEGIN + 10_000, now))
        platform.anchor()
        assert platform.audit().kept == [], seed


@given(
    begin=st.integers(0, 3 * HOUR_MS),
    length=st.integers(0, 9 * HOUR_MS),
    confirmed=st.integers(0, 10**9),
    provisional=st.integers(0, 10**9),
)
@settings(max_examples=300)
def test_what_is_spread_adds_up(begin, length, confirmed, provisional):
    """The parts of a step lie in the hours that it covers, are never negative and add up to it exactly."""
    parts = spread(Step(begin, begin + length, confirmed, provisional, "fall"))
    assert sum(part[1] for part in parts) == confirmed
    assert sum(part[2] for part in parts) == provisional
    assert all(a >= 0 and b >= 0 for _, a, b in parts)
    hours = [part[0] for part in parts]
    assert hours == sorted(set(hours))
    assert all(begin - HOUR_MS < hour <= begin + length for hour in hours)
    assert all(hour % HOUR_MS == 0 for hour in hours)


def fall(device, at=BEGIN):
    """A counter that falls between two hours: one provisional step."""
    rows = [(0, 1000), (10, 1100), (20, 1200), (5400, 50), (5410, 60), (5420, 70), (5430, 80)]
    return [device.readings([moment(e * 1000)], utc_ms=at + s * 1000) for s, e in rows]


def steps(platform):
    """The questions as (from, to, provisional, counted)."""
    return platform.writer.rows("SELECT from_ms, to_ms, provisional_mwh, counted_mwh FROM step ORDER BY from_ms")


def hours(platform):
    """(confirmed, provisional) of all hours that have any."""
    return platform.writer.rows("SELECT confirmed_mwh, provisional_mwh FROM hour ORDER BY hour_ms")


def test_a_decision_moves_energy_and_stays(lay):
    """What a person counts moves from provisional to confirmed, in no hour below nothing; late readings elsewhere leave
    it alone; it cannot be decided twice; the audit follows."""
    device = FakeDevice(1)
    platform = lay(fall(device))
    ((_, _, provisional, counted),) = steps(platform)
    assert counted is None
    before = platform.writer.rows("SELECT confirmed_mwh, provisional_mwh FROM latest")[0]
    assert before[1] == provisional > 0
    step = platform.writer.rows("SELECT id FROM step")[0][0]
    platform.order(DecideStep(step=step, counted_mwh=33_333))
    assert platform.writer.rows("SELECT confirmed_mwh, provisional_mwh FROM latest") == [(before[0] + 33_333, 0)]
    assert all(a >= 0 and b == 0 for a, b in hours(platform))
    assert sum(a for a, _ in hours(platform)) == before[0] + 33_333
    with pytest.raises(UsageError, match="decided already"):
        platform.order(DecideStep(step=step, counted_mwh=1))
    platform.take(device.readings([moment(1_100_500)], utc_ms=BEGIN + 15_000))  # late, before the step
    assert steps(platform)[0][3] == 33_333
    platform.anchor()
    assert platform.audit().kept == []


def test_a_late_reading_that_answers_the_question_withdraws_the_decision(lay):
    """Readings that land inside a decided step take the step away and its decision with it; totals are as if it had
    never been; the audit follows, and a new step may be decided anew."""
    device = FakeDevice(1)
    made = fall(device)
    late = [
        device.readings([moment(e * 1000)], utc_ms=BEGIN + s * 1000)
        for s, e in [(2000, 1300), (2010, 1310), (2020, 1320)]
    ]
    in_order = tables(lay([*made[:3], *late, *made[3:]]))
    platform = lay(made)
    platform.order(DecideStep(step=platform.writer.rows("SELECT id FROM step")[0][0], counted_mwh=777_777))
    for data in late:
        platform.take(data)
    assert tables(platform) == in_order
    platform.anchor()
    assert platform.audit().kept == []
    for (step,) in platform.writer.rows("SELECT id FROM step WHERE counted_mwh IS NULL"):
        platform.order(DecideStep(step=step, counted_mwh=1))
    assert platform.audit().kept == []


@pytest.mark.timeout(1200)
def test_decisions_amid_late_readings(lay, soak):
    """Random histories with decisions in between: what is decided and not withdrawn counts, all else is as in order."""
    decided = withdrawn = 0
    for seed in range(soak(300, 30)):
        r = random.Random(seed)
        made = history(r, interleave=seed % 2 == 0)
        platform = lay([])
        order = shuffled(r, made)
        taken = set()
        for data in order:
            platform.take(data)
            for step, provisional in platform.writer.rows(
                "SELECT id, provisional_mwh FROM step WHERE counted_mwh IS NULL"
            ):
                if r.random() < 0.5:
                    platform.order(DecideStep(step=step, counted_mwh=r.choice((0, provisional, provisional // 3))))
                    decided += 1
                    taken.add(step)
        left = platform.writer.rows(
            "SELECT id, from_ms, to_ms, provisional_mwh, counted_mwh FROM step WHERE counted_mwh IS NOT NULL"
        )
        withdrawn += len(taken - {row[0] for row in left})
        wanted = tables(lay(made))
        found = tables(platform)
        assert [row[:4] for row in found["step"]] == [row[:4] for row in wanted["step"]], seed
        counted = sum(row[4] for row in left)
        moved = sum(row[3] for row in left)
        assert found["latest"][0][5:7] == (wanted["latest"][0][5] + counted, wanted["latest"][0][6] - moved)
        assert found["latest"][0][7:] == wanted["latest"][0][7:]
        assert all(row[2] >= 0 and row[3] >= 0 for row in found["hour"])
        platform.anchor()
        assert platform.audit().kept == [], seed
    assert decided > 10
    assert withdrawn > 1


def test_a_thousand_late_ones_after_a_long_history(lay):
    """A device that was away for hours and sends then, newest first: each lands near its time, and all is as in
    order.
    """
    device = FakeDevice(1)
    made = [device.readings([moment(100 * i)], utc_ms=BEGIN + 10_000 * i) for i in range(1500)]
    wanted = tables(lay(made))
    platform = lay([*made[:400], *made[1000:], *reversed(made[400:1000])])
    found = tables(platform)
    assert found == wanted, first_difference(found, wanted)
