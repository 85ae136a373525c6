"""What is said of a room, its chart, and the statement behind a reading."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.web.house import House

from terang.kits.meter import _charts as charts
from terang.kits_installed import load_pages
from terang.page.numbers import Numbers
from terang.page.rooms import state_of
from terang.reader import Latest, MeterRef, Room
from terang.web import export
from terang.web.access import hours_since_ms
from terang.web.render import texts_in
from terang.web.rooms import look_at, total_power_mw
from terang.web.statement import read_statement

NOW_MS = 1_795_180_448_000
MINUTE_MS = 60_000
JAKARTA = ZoneInfo("Asia/Jakarta")
ROOM = Room(
    id=3, name="Kamar 3", tenancy=None, meters=(MeterRef(id=3, device="00" * 16, address=3, kit="meter"),)
)
TEXTS, NUMBERS = texts_in("id", load_pages()), Numbers(language="id", zone=JAKARTA)


def known(age_ms: int = 0, implausible_age_ms: int | None = None, *, dated: bool = True) -> Latest:
    return Latest(
        time_ms=NOW_MS - age_ms if dated else None,
        received_ms=NOW_MS - age_ms,
        implausible_ms=None if implausible_age_ms is None else NOW_MS - implausible_age_ms,
        power_mw=0,
    )


def draw(house: House, period: str, at: str | None = None, since_ms: int = 0) -> charts.Chart:
    return charts.chart_of(
        house,
        ROOM,
        ROOM.meters[0],
        period=period,
        at=at,
        since_ms=since_ms,
        hours_since_ms=since_ms,
        now_ms=NOW_MS,
        texts=TEXTS,
        numbers=NUMBERS,
    )


@pytest.mark.parametrize(
    ("latest", "word", "minutes"),
    [
        (None, "never", 0),
        (Latest(time_ms=None, received_ms=None), "never", 0),
        (known(), "on", 0),
        (known(120_000), "on", 0),
        (known(121_000), "silent", 2),
        (known(12 * MINUTE_MS), "silent", 12),
        (known(12 * MINUTE_MS, dated=False), "silent", 12),
        (known(10_000, 5_000), "implausible", 0),
        (known(5_000, 10_000), "on", 0),
        (Latest(time_ms=None, received_ms=None, implausible_ms=NOW_MS), "implausible", 0),
        # A device that sends what it kept while it was cut off: it is heard now, but this is not now's power.
        (replace(known(), time_ms=NOW_MS - 180 * MINUTE_MS), "silent", 180),
    ],
)
def test_the_state_of_a_meter(latest, word, minutes):
    """On, silent for minutes, never heard, implausible."""
    state = state_of(latest, NOW_MS, 120)
    assert (state.word, state.minutes) == (word, minutes)


def test_power_is_known_only_of_rooms_that_are_heard(house):
    """Zero watts is a number, silence is not; the total counts what is known."""
    views = look_at(house, house.user_by_name("sari"), house.rooms(), NOW_MS, JAKARTA, 120)
    assert [view.power_mw is None for view in views] == [False, False, False, True, True, True]
    assert total_power_mw(views) == sum(view.power_mw or 0 for view in views[:3])
    assert total_power_mw(views[3:]) is None


def test_the_same_period_before(house):
    """Yesterday and last month are cut at the hour of now, and say where."""
    view = look_at(house, house.user_by_name("sari"), house.rooms()[2:3], NOW_MS, JAKARTA, 120)[0]
    assert NUMBERS.moment(view.today.before_to_ms, NOW_MS) == "19 Nov 20.00"
    assert NUMBERS.moment(view.month.before_to_ms, NOW_MS) == "20 Okt 20.00"
    assert (
        view.today.before_mwh
        == house.used((3,), view.today.before_to_ms - 20 * 3_600_000, view.today.before_to_ms)[3].confirmed_mwh
    )
    assert view.today.provisional_mwh == 250_000


def test_a_tenant_compares_only_with_the_own_time(house):
    """Who moved in within the earlier period has nothing to compare with."""
    view = look_at(house, house.user_by_name("wati"), house.rooms()[:1], NOW_MS, JAKARTA, 120)[0]
    assert view.today.before_mwh is None
    assert view.month.before_mwh is None
    assert view.today.now_mwh is not None


def test_the_hour_of_moving_in(house, monkeypatch):
    """With readings of the tenant before, sums begin at the next full hour; on a meter that was new, at once."""
    user, room = house.user_by_name("wati"), house.rooms()[0]
    since = room.tenancy.from_ms
    assert hours_since_ms(house, user, room) == -(-since // 3_600_000) * 3_600_000
    assert hours_since_ms(house, house.user_by_name("sari"), room) == 0
    monkeypatch.setattr(house, "readings", lambda *_: [])
    assert hours_since_ms(house, user, room) == since // 3_600_000 * 3_600_000


def test_a_room_without_meter_is_shown(owner, house, monkeypatch):
    """A new room has a page before it has a meter."""
    rooms = [replace(room, meters=()) for room in house.rooms()]
    monkeypatch.setattr(house, "rooms", lambda: rooms)
    assert "Kamar ini belum punya meteran." in owner.get("/rooms/3").text
    assert owner.get("/").status_code == 200
    monkeypatch.setattr(house, "rooms", list)
    assert "Belum ada kamar." in owner.get("/").text


def test_a_room_with_two_meters_has_both(owner, house, monkeypatch):
    """Tabs lead to each; the overview adds their power."""
    rooms = house.rooms()
    double = replace(rooms[2], meters=(*rooms[2].meters, replace(rooms[1].meters[0], address=9)))
    monkeypatch.setattr(house, "rooms", lambda: [double])
    text = owner.get("/rooms/3").text
    assert 'href="/rooms/3?meter=2"' in text
    assert "Meteran 9" in owner.get("/rooms/3?meter=2&period=month").text
    powers = [house.readings(meter, None, 1)[0].power_mw for meter in (2, 3)]
    view = look_at(house, house.user_by_name("sari"), [double], NOW_MS, JAKARTA, 120)[0]
    assert view.power_mw == sum(powers)


@given(st.lists(st.tuples(st.integers(1, 100_000), st.one_of(st.none(), st.integers(0, 5_000)))))
def test_no_line_is_drawn_across_a_gap(steps):
    """Whatever the readings, all of them stay, in order, and every long distance has an unknown in it."""
    times, at = [], 0
    for step, _ in steps:
        at += step
        times.append(at)
    values = tuple(value for _, value in steps)
    drawn_times, drawn = charts.with_gaps(tuple(times), values)
    assert drawn_times == sorted(set(drawn_times))
    kept = [(ms, value) for ms, value in zip(drawn_times, drawn, strict=True) if ms in set(times)]
    assert kept == list(zip(times, values, strict=True))
    assert all(value is None for ms, value in zip(drawn_times, drawn, strict=True) if ms not in set(times))


def test_five_missing_minutes_are_a_gap(house):
    """The chart of an hour has a hole where nothing came, and its table says unknown there."""
    chart = draw(house, "hour", None)
    assert chart.data["y"].count(None) == 1
    assert len(chart.rows) == 13


def test_hours_without_data_are_unknown_not_zero(house):
    """An hour without a row is no bar and a dash; the future is no row at all."""
    chart = draw(house, "day", None)
    assert len(chart.data["x"]) == 24
    assert chart.data["y"][10] is None
    assert chart.data["y"][21:] == [None] * 3
    assert len(chart.rows) == 21
    assert chart.rows[20 - 10][1] == "–"
    assert (chart.earlier, chart.later) == ("2026-11-19", None)
    past = charts.chart_of(
        house,
        ROOM,
        ROOM.meters[0],
        period="day",
        at="2026-11-18",
        since_ms=0,
        hours_since_ms=0,
        now_ms=NOW_MS,
        texts=TEXTS,
        numbers=NUMBERS,
    )
    assert (past.earlier, past.later) == ("2026-11-17", "2026-11-19")


def test_a_new_tenants_chart_says_why_it_is_empty(house):
    """Within the first hour: sums begin with the next full one; of the month before there is nothing."""
    since_ms = NOW_MS // 3_600_000 * 3_600_000 + 3_600_000
    assert draw(house, "day", since_ms=since_ms).sentence == TEXTS("chart.too_new")
    assert draw(house, "month", "2026-10-10", since_ms=since_ms).sentence == TEXTS("chart.month.empty")


def test_the_first_minutes_fill_the_chart(house):
    """A meter that has been read for ten minutes is drawn over ten minutes, not as a sliver of an hour."""
    chart = draw(house, "hour", since_ms=NOW_MS - 10 * MINUTE_MS)
    assert 0 <= chart.data["from"] * 1000 - (NOW_MS - 10 * MINUTE_MS) < 10_000
    assert draw(house, "hour").data["from"] * 1000 - (NOW_MS - 60 * MINUTE_MS) < 10_000
    assert draw(house, "hour", since_ms=NOW_MS).data["from"] == (NOW_MS - 60 * MINUTE_MS) // 1000


def test_an_export_is_at_most_a_month():
    """A year asked for is its last 31 days; backwards is one day."""
    span = export.asked_span("2025-01-01", "2026-11-20", NOW_MS, JAKARTA)
    assert span.to_ms - span.from_ms == 31 * 86_400_000
    span = export.asked_span("2026-11-20", "2026-11-10", NOW_MS, JAKARTA)
    assert span.to_ms - span.from_ms == 86_400_000
    assert export.asked_span(None, None, NOW_MS, JAKARTA) == export.asked_span(
        "2026-11-14", "2026-11-20", NOW_MS, JAKARTA
    )


def test_a_statement_is_read_from_the_signed_bytes(house):
    """Time and values of the nth reading come out of the bytes; broken bytes are no statement."""
    record = house.record(12_002)
    said = read_statement("envelope", record.data, 3)
    assert said is not None
    row = house._row(3, record.from_ms + 30_000)
    assert said.time_ms == row.time_ms
    assert dict(said.values)["power_mw"] == row.power_mw
    assert (said.index, said.count, said.address, said.clock) == (3, 6, 3, "synced")
    assert read_statement("envelope", record.data[:-1], 3) is None
    assert read_statement("envelope", record.data, -1) is None
    lost = read_statement("envelope", house.record(95).data, 0)
    assert lost is not None
    assert dict(lost.words)["reason"] == "disk_full"


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data):
    """Any bytes are a statement or none."""
    read_statement("envelope", data, 0)
