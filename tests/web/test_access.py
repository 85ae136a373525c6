"""Who sees what. Every route is walked, so that a new one cannot be forgotten."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from terang.kits_installed import load_pages
from terang.values.command import ConfirmBinding, Refused
from terang.values.fingerprint import device_code
from terang.web.access import may_see_record

OPEN = {"/login", "/health", "/schema", "/schema/openapi.json", "/schema/{path}", "/static/{file_path}", "/verify.html"}
OWNERS = {
    *("/devices", "/refused", "/notices"),
    *("/api/v1/devices", "/api/v1/refused", "/api/v1/notices", "/api/v1/steps"),
}
FOR_ALL = {"/", "/overview/rooms", "/ledger", "/live", "/api/v1/rooms", "/api/v1/ledger", "/api/v1/batches"}
OWN = 12_002  # a record of Kamar 3: its position leaves 2 over 6
METER_CARDS = [card.name for pages in load_pages() for card in pages.cards if pages.kit == "meter"]
OTHERS = 12_001
ACT = 12_999


def routes(app: Litestar) -> Iterator[str]:
    """Every path that answers GET."""
    for route in app.routes:
        if isinstance(route, HTTPRoute) and "GET" in route.methods:
            yield route.path_format


def filled(path: str, *, room: int, position: int) -> str:
    query = "?from_ms=0&to_ms=9000000000000" if path.endswith("/hours") else ""
    return path.format(room_id=room, position=position, index=0, kit="meter", card="now") + query


def test_every_route_is_known_here(app):
    """A route that this test does not know is one that nobody has thought about."""
    rest = set(routes(app)) - OPEN - OWNERS - FOR_ALL
    assert all("{" in path for path in rest), rest


def test_nobody_comes_in_without_logging_in(app, browser):
    """Without a session a page leads to the login and the API answers 401, whether the room exists or not."""
    for path in set(routes(app)) - OPEN:
        codes = set()
        for room in (3, 99):
            answer = browser.get(filled(path, room=room, position=OWN), follow_redirects=False)
            codes.add(answer.status_code)
            assert answer.status_code in (303, 401), path
            if answer.status_code == 303:
                assert answer.headers["location"].startswith("/login"), path
        assert len(codes) == 1


def test_another_room_is_as_one_that_does_not_exist(app, tenant):
    """A tenant who guesses gets the same 404, byte for byte, on every route: pages, pieces, files, API, proofs."""
    cards = [path.replace("{kit}/{card}", f"meter/{card}") for path in routes(app) for card in METER_CARDS]
    guessed = [path for path in dict.fromkeys(cards) if "{" in path and path not in OPEN]
    assert len(guessed) >= 12
    for path in guessed:
        own = tenant.get(filled(path, room=3, position=OWN))
        assert own.status_code == 200, path
        absent = tenant.get(filled(path, room=99, position=99_999_999))
        assert absent.status_code == 404, path
        for room, position in ((1, OTHERS), (2, ACT), (5, 4), (0, 0)):
            answer = tenant.get(filled(path, room=room, position=position))
            assert answer.status_code == 404, path
            assert answer.content == absent.content, path
            assert _plain(answer.headers) == _plain(absent.headers), path


def _plain(headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "date"}


def test_what_is_the_owners_does_not_exist_for_a_tenant(app, tenant):
    """Devices, refused envelopes, notices and steps: 404 as for any made-up page."""
    for path in OWNERS:
        made_up = "/api/v1/nothing" if path.startswith("/api") else "/nothing"
        assert tenant.get(path).status_code == 404, path
        assert tenant.get(path).content == tenant.get(made_up).content, path


def test_a_tenant_cannot_do_what_owners_do(tenant, house, csrf):
    """The forms of owners are 404 for a tenant with a valid token."""
    token = {"_csrf_token": csrf(tenant)}
    assert tenant.post("/steps/1", data={"choice": "count", **token}).status_code == 404
    assert tenant.post("/notices/1/seen", data=token).status_code == 404
    assert (
        tenant.post(f"/devices/{house.device}/revoke", data={"reason": "x", "sure": "yes", **token}).status_code == 404
    )


def test_only_who_lives_there_confirms_the_meter(tenant, owner, house, core, csrf):
    """The card shows the code; a tenant says once that the box bears it; for anybody else that form is not there."""
    code = device_code(bytes.fromhex(house.device))
    page = tenant.get("/rooms/3").text
    assert code in page
    assert "/rooms/3/confirm" in page
    assert "/rooms/3/confirm" not in owner.get("/rooms/3").text
    assert "belum mencocokkannya" in owner.get("/rooms/3").text
    for visitor, room, meter in ((owner, 3, 3), (tenant, 1, 1), (tenant, 3, 1), (tenant, 3, "x"), (tenant, 3, "")):
        form = {"meter": meter, "_csrf_token": csrf(visitor)}
        assert visitor.post(f"/rooms/{room}/confirm", data=form).status_code == 404
    assert tenant.post("/rooms/3/confirm", data={"meter": 3}).status_code == 403
    core.answer = Refused(reason="the meter has moved")
    answer = tenant.post("/rooms/3/confirm", data={"meter": 3, "_csrf_token": csrf(tenant)})
    assert answer.status_code == 409
    assert "the meter has moved" in answer.text
    core.answer = None
    answer = tenant.post("/rooms/3/confirm", data={"meter": 3, "_csrf_token": csrf(tenant)})
    assert answer.status_code == 200
    assert "Kata Anda tercatat." in answer.text
    assert "Penghuni sudah mencocokkannya" in answer.text
    assert "/rooms/3/confirm" not in answer.text
    asked = ConfirmBinding(device=house.device, address=3)
    assert [(ask.by, ask.command) for ask in core.asked] == [("budi", asked)] * 2
    assert "Penghuni sudah mencocokkannya" in owner.get("/rooms/3").text


def test_another_rooms_meter_is_not_read_through_ones_own(tenant):
    """`meter` of a neighbour under the own room is 404 everywhere."""
    for path in ("", "/meter/now", "/meter/readings", "/meter/history", "/readings.csv"):
        assert tenant.get(f"/rooms/3{path}?meter=1").status_code == 404
    for path in ("/readings", "/hours"):
        assert tenant.get(f"/api/v1/rooms/3{path}?meter=1&from_ms=0&to_ms=9000000000000").status_code == 404


def test_a_tenant_sees_only_the_own_room(tenant, owner):
    """The overview, the API and the rooms name no neighbour and no other tenant."""
    for path in ("/overview/rooms", "/rooms/3", "/ledger", "/"):
        text = tenant.get(path).text
        assert "wati" not in text
        assert not re.search(r"Kamar [12456]", text), path
    assert [room["name"] for room in tenant.get("/api/v1/rooms").json()] == ["Kamar 3"]
    assert len(owner.get("/api/v1/rooms").json()) == 6


def test_nothing_from_before_moving_in(newcomer, house):
    """Who moved in ninety minutes ago sees no reading, hour, file or proof of the tenant before."""
    since = house.rooms()[0].tenancy.from_ms
    rows = newcomer.get("/api/v1/rooms/1/readings?limit=1000").json()["readings"]
    assert rows
    assert min(row["time_ms"] for row in rows) >= since
    old = newcomer.get(f"/api/v1/rooms/1/readings?before_ms={since}").json()
    assert old == {"readings": [], "before_ms": None}
    hours = newcomer.get(f"/api/v1/rooms/1/hours?from_ms=0&to_ms={house.start_ms}").json()
    assert hours
    assert min(hour["hour_ms"] for hour in hours) >= since
    lines = newcomer.get("/rooms/1/readings.csv?from=2026-11-01").text.splitlines()[1:]
    assert lines
    assert min(int(line.split(",")[1]) for line in lines) >= since
    assert "tanpa data" not in newcomer.get("/rooms/1?period=day").text
    assert "Tak ada data pada bulan ini." in newcomer.get("/rooms/1?period=month&at=2026-10-15").text
    positions = [row["position"] for row in house_rows(house, 1) if row["time_ms"] < since - 60_000]
    assert positions
    for position in positions[:20]:
        assert newcomer.get(f"/proof/{position}/0").status_code == 404
        assert newcomer.get(f"/proof/{position}/proof.json").status_code == 404
        assert newcomer.get(f"/api/v1/records/{position}/proof").status_code == 404


def house_rows(house, meter: int) -> list[dict[str, int]]:
    return [{"position": row.position, "time_ms": row.time_ms} for row in house.readings(meter, None, 2_000)]


def test_who_has_moved_out_sees_nothing(tenant, house, monkeypatch):
    """With the end of the tenancy its room is gone, at once."""
    assert tenant.get("/rooms/3").status_code == 200
    rooms = [replace(room, tenancy=None) for room in house.rooms()]
    monkeypatch.setattr(house, "rooms", lambda: rooms)
    assert tenant.get("/rooms/3").status_code == 404
    assert "Belum ada kamar atas nama Anda" in tenant.get("/").text


def test_a_record_that_straddles_moving_in_is_not_shown(house):
    """A record with one reading from before is the tenant's before."""
    user = house.user_by_name("wati")
    room = house.rooms()[0]
    record = replace(house.record(12_000), room_id=1, from_ms=room.tenancy.from_ms - 1)
    assert not may_see_record(house, user, record)
    assert may_see_record(house, user, replace(record, from_ms=room.tenancy.from_ms))


@pytest.mark.parametrize("number", ["99999999999999999999999", "9223372036854775808", "9007199254740992"])
def test_absurd_numbers_are_answered_plainly(owner, number):
    """A number that no store can hold is 404 as a name and 400 as a limit, never a fault."""
    assert owner.get(f"/rooms/{number}").status_code == 404
    assert owner.get(f"/proof/{number}").status_code == 404
    assert owner.get(f"/api/v1/rooms/{number}").status_code == 404
    for query in ("before", "meter"):
        assert owner.get(f"/rooms/3?{query}={number}").status_code in (400, 404)
    assert owner.get("/rooms/3?before=-1").status_code == 400
    assert owner.get("/rooms/three").status_code == 404
    assert owner.get(f"/ledger?before={number}").status_code == 400
