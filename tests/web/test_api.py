"""JSON for programs."""


def test_the_api_describes_itself(browser):
    """OpenAPI names every path under /api/v1 and no page."""
    schema = browser.get("/schema/openapi.json").json()
    assert schema["info"]["title"] == "Terang"
    paths = set(schema["paths"])
    assert {"/api/v1/rooms", "/api/v1/rooms/{room_id}/readings", "/api/v1/records/{position}/proof"} <= paths
    assert all(path.startswith("/api/v1/") or path == "/health" for path in paths)
    assert browser.get("/schema").status_code == 200


def test_rooms_in_units(owner):
    """States as words, integers in milli-units, None for the unknown, never a password hash."""
    answer = owner.get("/api/v1/rooms")
    rooms = answer.json()
    assert [room["state"] for room in rooms] == ["on", "on", "on", "silent", "never", "implausible"]
    assert rooms[3]["silent_minutes"] == 12
    assert rooms[4]["power_mw"] is None
    assert rooms[4]["meters"][0]["latest"] is None
    assert isinstance(rooms[0]["power_mw"], int)
    assert rooms[2]["tenant"] == "budi"
    assert "argon2" not in answer.text
    assert owner.get("/api/v1/rooms/3").json() == rooms[2]


def test_readings_are_paged_to_the_end(owner, house):
    """`before_ms` of one answer begins the next; the last has none."""
    seen, before = [], ""
    while True:
        answer = owner.get(f"/api/v1/rooms/3/readings?limit=500{before}").json()
        seen += [row["time_ms"] for row in answer["readings"]]
        if answer["before_ms"] is None:
            break
        before = f"&before_ms={answer['before_ms']}"
    assert seen == [row.time_ms for row in house.readings(3, None, 100_000)]
    for limit in ("0", "1001", "x"):
        assert owner.get(f"/api/v1/rooms/3/readings?limit={limit}").status_code == 400


def test_the_rest_answers(owner):
    """Ledger, batches, devices, refused, notices and steps as the store tells them."""
    assert owner.get("/api/v1/ledger").json()["size"] == 13_000
    assert len(owner.get("/api/v1/batches?limit=3").json()) == 3
    assert len(owner.get("/api/v1/devices").json()) == 2
    assert owner.get("/api/v1/refused").json()["counts"]["bad_signature"] == 9_841
    assert len(owner.get("/api/v1/notices").json()) == 2
    assert len(owner.get("/api/v1/notices?open_only=false").json()) == 3
    assert owner.get("/api/v1/steps").json()[0]["provisional_mwh"] == 1_250_000
    assert owner.get("/api/v1/records/12002/proof").json()["position"] == 12_002
    hours = owner.get("/api/v1/rooms/3/hours?from_ms=0&to_ms=9000000000000").json()
    assert len(hours) <= 366 * 24


def test_errors_are_json_there(owner, browser):
    """A program gets JSON, a person a page, from the same rules."""
    assert owner.get("/api/v1/rooms/99").json() == {"status_code": 404, "detail": "There is no such page."}
    browser.cookies.clear()
    assert browser.get("/api/v1/rooms").json()["status_code"] == 401
    assert browser.get("/rooms/99", headers={"accept": "application/json"}).json()["status_code"] == 401
    owner.get("/")
    assert owner.post("/api/v1/rooms", json={}, headers={"accept": "application/json"}).status_code in (403, 405)
