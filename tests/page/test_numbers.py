"""Numbers, moments and periods."""

from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terang.page import periods
from terang.page.numbers import Numbers, parse_kwh
from terang.page.periods import HOUR_MS

JAKARTA = ZoneInfo("Asia/Jakarta")
ID = Numbers(language="id", zone=JAKARTA)
EN = Numbers(language="en", zone=JAKARTA)
NOW_MS = 1_795_180_448_000  # 20 November 2026, 20.14.08 in Jakarta


@pytest.mark.parametrize(
    ("made", "indonesian", "english"),
    [
        (lambda n: n.kwh(1_204_318_000, 3), "1.204,318 kWh", "1,204.318 kWh"),
        (lambda n: n.milli(342_149, "W", 1), "342,1 W", "342.1 W"),
        (lambda n: n.milli(342_150, "W", 1), "342,2 W", "342.2 W"),
        (lambda n: n.milli(-1_500, "W", 0), "−2 W", "−2 W"),
        (lambda n: n.milli(None, "W"), "– W", "– W"),
        (lambda n: n.energy(21_400), "0,021 kWh", "0.021 kWh"),
        (lambda n: n.energy(2_310_000), "2,31 kWh", "2.31 kWh"),
        (lambda n: n.energy(214_600_000), "214,6 kWh", "214.6 kWh"),
        (lambda n: n.energy(None), "– kWh", "– kWh"),
        (lambda n: n.kwh(0), "0,00 kWh", "0.00 kWh"),
        (lambda n: n.plain(51_840), "51.840", "51,840"),
        (lambda n: n.plain(None), "–", "–"),
        (lambda n: n.permille(970), "0,97", "0.97"),
        (lambda n: n.percent(1, 12), "8 %", "8 %"),
        (lambda n: n.size(4_312_040), "4,3 MB", "4.3 MB"),
        (lambda n: n.size(96_000), "96,0 kB", "96.0 kB"),
        (lambda n: n.size(812), "812 byte", "812 bytes"),
        (lambda n: n.size(None), "–", "–"),
        (lambda n: n.clock(NOW_MS), "20.14", "20:14"),
        (lambda n: n.clock(NOW_MS, seconds=True), "20.14.08", "20:14:08"),
        (lambda n: n.day(NOW_MS, weekday=True), "Jumat, 20 November 2026", "Friday, 20 November 2026"),
        (lambda n: n.month(NOW_MS), "November 2026", "November 2026"),
        (lambda n: n.month(NOW_MS - 90 * 86_400_000, year=False), "Agustus", "August"),
        (lambda n: n.moment(NOW_MS, NOW_MS), "20.14", "20:14"),
        (lambda n: n.moment(NOW_MS - 86_400_000, NOW_MS), "19 Nov 20.14", "19 Nov 20:14"),
        (lambda n: n.moment(NOW_MS - 365 * 86_400_000, NOW_MS), "20 Nov 2025 20.14", "20 Nov 2025 20:14"),
        (lambda n: n.moment(None, NOW_MS), "–", "–"),
    ],
)
def test_as_people_write_it(made, indonesian, english):
    """Each language its own way, the space before a unit unbreakable."""
    assert made(ID).replace("\u00a0", " ") == indonesian
    assert made(EN).replace("\u00a0", " ") == english


@given(st.integers(0, 4_000_000 * 1_000_000), st.sampled_from([ID, EN]))
def test_what_is_written_is_read_back(mwh, numbers):
    """Any energy written in full is understood as itself."""
    assert parse_kwh(numbers.kwh(mwh, 6), numbers.language) == mwh


@given(st.text(max_size=20), st.sampled_from(["id", "en"]))
def test_any_typing_is_a_number_or_none(text, language):
    """Whatever is typed never fails, and what is understood is not negative."""
    read = parse_kwh(text, language)
    assert read is None or read >= 0


@pytest.mark.parametrize(
    ("text", "language", "mwh"),
    [
        ("0,75", "id", 750_000),
        (" 1.204,5 kWh", "id", 1_204_500_000),
        ("0.75", "id", None),
        ("0.75", "en", 750_000),
        ("1,204.5", "en", 1_204_500_000),
        ("0,75", "en", None),
        ("1.20", "id", None),
        ("-1", "id", None),
        ("1e3", "id", None),
        ("٣", "id", None),
        ("", "id", None),
        ("9999999", "id", None),
    ],
)
def test_a_typed_amount(text, language, mwh):
    """A point in Indonesian groups thousands: 0.75 is refused, not taken for 75."""
    assert parse_kwh(text, language) == mwh


def test_rounding_is_on_exact_decimals():
    """A half rounds away from zero, whatever a binary fraction would say."""
    assert ID.plain(Decimal("0.125"), 2) == "0,13"
    assert ID.plain(Decimal("2.675"), 2) == "2,68"


@pytest.mark.parametrize(("zone", "hour"), [("Asia/Jakarta", 17), ("Asia/Makassar", 16), ("Asia/Jayapura", 15)])
def test_a_day_begins_at_the_sites_midnight(zone, hour):
    """WIB, WITA and WIT have their own days."""
    span = periods.day_of(NOW_MS, ZoneInfo(zone))
    assert span.from_ms // HOUR_MS % 24 == hour
    assert span.to_ms - span.from_ms == 24 * HOUR_MS
    assert span.from_ms <= NOW_MS < span.to_ms


@given(
    st.integers(1_000_000_000_000, 4_000_000_000_000),
    st.sampled_from(["Asia/Jakarta", "Asia/Jayapura", "Europe/Berlin"]),
)
def test_periods_hold_their_moment_and_join(ms, zone_name):
    """A day and a month hold the moment they are of, and the one before ends where it begins, clock changes or not."""
    zone = ZoneInfo(zone_name)
    for kind, of in (("day", periods.day_of), ("month", periods.month_of)):
        span = of(ms, zone)
        assert span.from_ms <= ms < span.to_ms
        assert periods.before(span, kind, zone).to_ms == span.from_ms
    starts = periods.day_starts(periods.month_of(ms, zone), zone)
    assert 28 <= len(starts) <= 31
    assert starts == sorted(set(starts))


@pytest.mark.parametrize(
    "text", ["", None, "nonsense", "2026-13-01", "1969-12-31", "9999-12-31", "0001-01-01", "2026-11-20T00:00"]
)
def test_an_unreadable_date_is_no_day(text):
    """The page then shows today."""
    assert periods.parse_day(text, JAKARTA) is None
    assert periods.span_at("day", NOW_MS, JAKARTA, text) == periods.day_of(NOW_MS, JAKARTA)


def test_a_page_does_not_turn_into_the_future():
    """A date ahead shows today; a past one its own day or month."""
    assert periods.span_at("day", NOW_MS, JAKARTA, "2027-01-01") == periods.day_of(NOW_MS, JAKARTA)
    past = periods.span_at("month", NOW_MS, JAKARTA, "2026-02-14")
    assert ID.month(past.from_ms) == "Februari 2026"
    assert periods.hour_ceiling(HOUR_MS) == HOUR_MS
    assert periods.hour_ceiling(HOUR_MS + 1) == 2 * HOUR_MS
