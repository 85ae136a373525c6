"""What stands on the pages."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, ClassVar

import pytest

from terang.values.errors import StoreError
from terang.web.headers import CONTENT_SECURITY_POLICY

PAGES = [
    *("/", "/rooms/1", "/rooms/2", "/rooms/3", "/rooms/4", "/rooms/5", "/rooms/6", "/rooms/3?period=hour"),
    *("/rooms/3?period=month", "/rooms/3?period=day&at=2026-11-18", "/overview/rooms", "/rooms/3/meter/now"),
    *(
        "/rooms/3/meter/readings",
        "/rooms/3/meter/history",
        "/rooms/3/meter/history?period=hour",
        "/proof/12002/3",
        "/proof/12995",
        "/proof/95",
    ),
    *("/proof/12999", "/ledger", "/ledger?before=12", "/devices", "/refused", "/notices", "/nothing-here"),
]
# A page may say what was signed and what is recorded, never that a number is so.
NEVER_SAID = {
    "en": r"\b(true|truth|correct|tamper.?proof|unchangeable|immutable|guarantee\w*|trustworthy|certain that)\b",
    "id": r"\b(benar adanya|terbukti benar|pasti benar|anti.?manipulasi|ti?dak bisa diubah|dijamin benar)\b",
}


class Reader(HTMLParser):
    """Collects what the policy forbids, and whether the tags close."""

    VOID: ClassVar = {"meta", "link", "input", "br", "img", "path", "circle", "rect"}

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "script" and "src" not in named:
            self.faults.append("a script in the page")
        if tag in ("style", "iframe", "object", "embed", "base"):
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if name == "style" or name.startswith(("on", "hx-on")):
                self.faults.append(f"{name} on <{tag}>")
            if name in ("src", "href", "action") and value and not value.startswith(("/", "#")):
                self.faults.append(f"{name}={value}")
            if name == "id" and value:
                self.ids.append(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def drawn(text: str) -> dict[str, Any]:
    """What the first chart of a page draws."""
    data: dict[str, Any] = json.loads(re.findall(r"data-chart='([^']*)'", text)[0])
    return data


@pytest.mark.parametrize("language", ["id", "en"])
@pytest.mark.parametrize("path", PAGES)
def test_every_page_keeps_to_the_policy(owner, path, language):
    """Each page in each language: whole, no script or style of its own, nothing from elsewhere, no false claim."""
    owner.cookies.set("terang_language", language)
    answer = owner.get(path)
    assert answer.status_code == (404 if path == "/nothing-here" else 200)
    reader = read(answer.text)
    assert reader.faults == []
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    words = re.sub(r"<[^>]+>", " ", answer.text)
    assert not re.search(NEVER_SAID[language], words, re.IGNORECASE)
    assert "None" not in words
    assert "{" not in words.replace("{}", "")


def test_what_comes_from_outside_is_text(owner):
    """A forged envelope's detail and a notice's values are shown, not run."""
    assert "&lt;img src=x onerror=alert(1)&gt;" in owner.get("/refused").text
    assert "<script>" not in owner.get("/notices").text
    assert "&lt;script&gt;" in owner.get("/notices").text


def test_the_overview_says_the_state_in_words(owner):
    """On, silent for minutes, never heard, implausible: in words, and no power where none is known."""
    text = owner.get("/").text
    cards = dict(re.findall(r'data-meters="(\d)" data-state="(\w+)"', text))
    assert cards == {"1": "on", "2": "on", "3": "on", "4": "silent", "5": "never", "6": "implausible"}
    for words in ("Menyala", "Tak ada data 12 menit", "Belum pernah terdengar", "Angka tidak masuk akal"):
        assert words in text
    assert text.count("–</span>") == 3
    assert ">0</span>" not in text
    assert "dari 3 kamar; 6 kamar seluruhnya" in text
    assert "43.200" in text
    assert "dari 43.207 pembacaan" in text
    assert "7 dinyatakan hilang" in text


def test_unknown_is_never_zero(owner):
    """A room never heard of shows dashes, not zeros, and says why."""
    text = owner.get("/rooms/5").text
    figures = re.findall(r'<span class="number"[^>]*>([^<]*)</span>', text)
    assert figures == ["–"] * 7
    assert "Meteran ini belum pernah terdengar." in text
    assert "Belum ada pembacaan." in text
    data = drawn(text)
    assert set(data["y"]) == {None}


def test_a_silent_room_says_what_was_last(owner):
    """No live number stands while nothing is heard, only what it was then."""
    text = owner.get("/rooms/4").text
    assert re.search(r"waktu itu \d+\xa0W", text)
    assert re.search(r'data-live="power_mw" data-decimals="0">–<', text)


def test_numbers_as_people_write_them(owner):
    """Indonesian with comma and point, English the other way round, time in the site's zone."""
    text = owner.get("/rooms/3").text
    assert re.search(r"1\.204,\d{3}\xa0kWh", text)
    assert "20.14.00" in text
    owner.cookies.set("terang_language", "en")
    text = owner.get("/rooms/3").text
    assert re.search(r"1,204\.\d{3}\xa0kWh", text)
    assert "20:14:00" in text


def test_other_zones_have_their_own_clock(owner, house, monkeypatch):
    """A house in Jayapura reads two hours later than one in Jakarta."""
    site = replace(house.site(), time_zone="Asia/Jayapura")
    monkeypatch.setattr(house, "site", lambda: site)
    assert "22.14.00" in owner.get("/rooms/3").text
    assert "WIT" in owner.get("/proof/12002/3").text


def test_a_reading_waits_for_its_block(owner, house):
    """Before it is anchored a row says so; afterwards it has number and hash, whole on tap."""
    house.anchored_below = 0
    text = owner.get("/rooms/3/meter/readings").text
    assert text.count("menunggu blok") == 12
    assert "0x" not in text
    house.anchored_below = 13_000
    text = owner.get("/rooms/3/meter/readings").text
    assert "menunggu blok" not in text
    whole = re.findall(r'<code class="whole">(0x[0-9a-f]{64})</code>', text)[0]
    assert f"<code>{whole[:6]}…{whole[-4:]}</code>" in text


def test_paging_goes_through_all_readings_once(owner, house):
    """From the newest to the oldest every reading stands on exactly one page."""
    seen, path = [], "/rooms/3"
    for _ in range(200):
        text = owner.get(path).text
        seen += re.findall(r'href="/proof/(\d+/\d)"', text)
        link = re.search(r'rel="next" href="([^"#]+)#', text)
        if not link:
            break
        path = link.group(1)
    wanted = [f"{row.position}/{row.index}" for row in house.readings(3, None, 10_000)]
    assert seen == wanted


def test_a_chart_has_a_sentence_and_a_table(owner):
    """Hour, day and month: words before, a table behind, the provisional as a band of its own."""
    for period, sentence in (("hour", "Daya antara"), ("day", "pada hari ini"), ("month", "pada bulan ini")):
        text = owner.get(f"/rooms/2/meter/history?period={period}").text
        assert sentence in text
        data = drawn(text)
        assert any(value is not None for value in data["y"])
        assert text.count("<tr>") > 10
    text = owner.get("/rooms/2/meter/history?period=day").text
    assert "belum pasti" in text
    assert "1 jam tanpa data." in text
    assert 0.25 in drawn(text)["band"]


def test_the_proof_page_has_three_ticks(owner, house):
    """Signed by the device's key, in the log, in a block; each as found, and how to check it oneself."""
    house.anchored_below = 13_000
    text = owner.get("/proof/12002/3").text
    assert len(re.findall(r'<li class="tick held">', text)) == 3
    assert "Ditandatangani dengan kunci alat" in text
    assert "terang verify terang-proof-12002.json" in text
    assert "PZEM-004T" in text
    assert "hanya kemudahan" in text
    row = house._row(3, house.record(12_002).from_ms + 30_000)
    assert f"{row.power_mw / 1000:.1f}".replace(".", ",") in text


def test_the_proof_page_waits_and_says_when_it_breaks(owner, house, monkeypatch):
    """A block not there yet waits; a finding that does not hold is a cross with its sentence."""
    house.anchored_below = 0
    text = owner.get("/proof/12002/3").text
    assert len(re.findall(r'<li class="tick waiting">', text)) == 1
    assert "Menunggu blok" in text
    house.anchored_below = 13_000
    house._records.clear()
    broken = replace(
        house.proof(12_002), signed=False, logged=False, anchored=False, problem="the signature is another's"
    )
    monkeypatch.setattr(house, "proof", lambda *_: broken)
    text = owner.get("/proof/12002/3").text
    assert len(re.findall(r'<li class="tick broken">', text)) == 3
    assert "the signature is another&#39;s" in text
    monkeypatch.setattr(house, "proof", lambda *_: None)
    text = owner.get("/proof/12002/3").text
    assert len(re.findall(r'<li class="tick waiting">', text)) == 3
    assert owner.get("/proof/12002/proof.json").status_code == 404


def test_what_is_not_signed_by_the_device_is_not_called_so(owner, house, monkeypatch):
    """A reading that a gateway vouches for is never drawn as signed by the meter's device."""
    vouched = replace(house.record(12_002), attested_by="gateway")
    monkeypatch.setattr(house, "record", lambda _: vouched)
    text = owner.get("/proof/12002/3").text
    assert "Ditandatangani dengan kunci alat" not in text
    assert "Dijamin oleh gateway, bukan oleh meteran." in text


def test_a_reading_that_the_envelope_does_not_hold_is_not_there(owner):
    """The seventh of six readings, and a page for bytes that say nothing of the kind, are 404."""
    assert owner.get("/proof/12002/6").status_code == 404
    assert owner.get("/proof/12999/1").status_code == 404


def test_the_proof_is_a_file(owner):
    """The download is the document itself, named by its position."""
    answer = owner.get("/proof/12002/proof.json")
    assert answer.headers["content-disposition"] == 'attachment; filename="terang-proof-12002.json"'
    assert answer.json()["position"] == 12_002


def test_the_ledger_says_why_it_waits(owner, tenant, house, monkeypatch):
    """A pause is told with its reason; head, signer and checkpoint stand on the page, for tenants too."""
    paused = replace(house.ledger(), paused="the clock says 1970.")
    monkeypatch.setattr(house, "ledger", lambda: paused)
    for client in (owner, tenant):
        text = client.get("/ledger").text
        assert "Penulisan ke rantai menunggu: the clock says 1970." in text
        for part in (
            "13.000",
            "20.155",
            "0x71C7656EC7ab88b098defB751B7401B5f6d8976F",
            "http://127.0.0.1:8545",
            "64 menunggu",
        ):
            assert part in text


def test_the_csv_has_whole_numbers_with_units_in_their_names(owner, house):
    """Seven days by default, at most 31, newest first, one line a reading."""
    answer = owner.get("/rooms/3/readings.csv")
    lines = answer.text.splitlines()
    assert lines[0].startswith("time,time_ms,voltage_mv,current_ma,power_mw,energy_mwh")
    rows = house.readings(3, None, 100_000)
    assert len(lines) == len(rows) + 1
    first = lines[1].split(",")
    assert first[0] == "2026-11-20T20:14:00.000+07:00"
    assert int(first[4]) == rows[0].power_mw
    assert answer.headers["content-disposition"] == 'attachment; filename="terang-3-2026-11-14.csv"'
    assert len(owner.get("/rooms/3/readings.csv?from=2026-11-01&to=2026-11-02").text.splitlines()) == 1
    assert len(owner.get("/rooms/5/readings.csv").text.splitlines()) == 1


def test_pages_work_while_the_core_is_down(owner):
    """Everything is read from the store, and the page says that the core is away."""
    assert '<div id="core-down">' in owner.get("/").text
    assert owner.get("/rooms/3").status_code == 200


def test_a_store_that_cannot_be_read_is_one_sentence(owner, house, monkeypatch):
    """503 and plain words, in HTML or JSON, never a traceback; health says which part it is."""

    def broken():
        raise StoreError("the disk is gone: /var/lib/secret")

    monkeypatch.setattr(house, "rooms", broken)
    answer = owner.get("/")
    assert answer.status_code == 503
    assert "secret" not in answer.text
    assert owner.get("/api/v1/rooms").json() == {"status_code": 503, "detail": "Try again in a moment."}
    monkeypatch.setattr(house, "site", broken)
    assert owner.get("/health").json() == {"store": False, "core": False}


def test_a_fault_of_ours_is_one_sentence(owner, house, monkeypatch):
    """500 in plain words; what went wrong goes to the log only."""

    def broken():
        raise RuntimeError("secret")

    monkeypatch.setattr(house, "rooms", broken)
    answer = owner.get("/")
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_health_needs_no_login(browser):
    """Whether the store is read and the core is heard."""
    assert browser.get("/health").json() == {"store": True, "core": False}
