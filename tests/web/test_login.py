"""Coming in and going out."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.testing import TestClient

from terang.values.clock import FakeClock
from terang.web.access import client_address, safe_next
from terang.web.core import CoreClient
from terang.web.passwords import check_password, hash_password
from terang.web.server import create_app

NEW_HASH = hash_password("kunci baru 5")


def test_a_right_password_opens_the_first_page(browser, enter):
    """Name and password lead to the overview, with a cookie that scripts and other sites cannot use."""
    assert enter(browser, "sari") == 303
    cookie = next(c for c in browser.cookies.jar if c.name == "terang_session")
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "lax"
    assert "sari" not in cookie.value
    assert browser.get("/").status_code == 200


def test_wrong_name_and_wrong_password_look_alike(browser, csrf):
    """Nobody learns from the form whether a name exists."""
    bodies = []
    for name in ("sari", "nobody"):
        token = csrf(browser)
        form = {"name": name, "password": "wrong password", "_csrf_token": token}
        answer = browser.post("/login", data=form)
        assert answer.status_code == 401
        bodies.append(answer.text.replace(f'value="{name}"', "").replace(token, ""))
    assert bodies[0] == bodies[1]


def test_an_unknown_name_costs_as_much():
    """A password is hashed for a stranger's name too, with the same parameters."""
    assert not check_password(None, "argon2 spends as much on a stranger's name as on yours")
    assert check_password(NEW_HASH, "kunci baru 5")
    assert not check_password(NEW_HASH, "kunci baru 6")
    assert not check_password("not a hash", "kunci baru 6")


@pytest.mark.parametrize(
    "path", ["/login", "/logout", "/language", "/steps/1", "/notices/1/seen", "/devices/ab/revoke", "/rooms/1/confirm"]
)
def test_a_form_without_its_token_is_refused(owner, house, path):
    """Every form needs the token of our own page, in the cookie and in the form."""
    assert owner.post(path, data={"name": "sari"}).status_code == 403
    assert owner.post(path, data={"_csrf_token": "0" * 128}).status_code == 403
    assert owner.get("/").status_code == 200
    assert house.step_rows[1].decided_ms is None


def test_a_form_of_a_megabyte_is_refused(browser, csrf):
    """413, before anything is made of it."""
    form = {"name": "x" * 1_000_000, "_csrf_token": csrf(browser)}
    assert browser.post("/login", data=form).status_code == 413


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"name", b"name=a&name=b", b"%zz=%zz", b"password=" + b"x" * 60_000]
)
def test_a_broken_form_is_refused_plainly(browser, csrf, content):
    """Whatever is posted, the answer is a page with a status below 500."""
    headers = {"content-type": "application/x-www-form-urlencoded", "x-csrftoken": csrf(browser)}
    answer = browser.post("/login", content=content, headers=headers)
    assert answer.status_code in (400, 401, 429)
    for kind in ("application/json", "multipart/form-data", "text/plain"):
        assert browser.post("/login", content=content, headers={**headers, "content-type": kind}).status_code < 500


def test_every_posting_route_is_among_those(app):
    """The list above is the list of all routes that change something."""
    posting = {
        route.path_format for route in app.routes for method in getattr(route, "methods", ()) if method == "POST"
    }
    expected = {"/login", "/logout", "/language", "/steps/{step}", "/notices/{notice}/seen", "/devices/{device}/revoke"}
    expected.add("/rooms/{room_id}/confirm")
    assert posting == expected


def test_a_new_password_ends_all_sessions(owner, house):
    """Whoever was logged in before the password changed is asked for it."""
    assert owner.get("/").status_code == 200
    house.versions["sari"] += 1
    answer = owner.get("/devices", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fdevices"
    assert owner.get("/api/v1/rooms").status_code == 401


def test_logging_out_ends_a_copied_cookie_too(owner, csrf, make_app):
    """After logging out the cookie opens nothing any more, not even after a restart of the web process."""
    copied = owner.cookies["terang_session"]
    assert owner.post("/logout", data={"_csrf_token": csrf(owner)}, follow_redirects=False).status_code == 303
    assert owner.get("/", follow_redirects=False).status_code == 303
    for client in (owner, TestClient(make_app())):
        client.cookies.set("terang_session", copied)
        assert client.get("/", follow_redirects=False).status_code == 303


def test_a_restart_logs_nobody_out(owner, make_app):
    """The session key is kept, readable by its owner alone."""
    again = TestClient(make_app())
    again.cookies.set("terang_session", owner.cookies["terang_session"])
    assert again.get("/", follow_redirects=False).status_code == 200


def test_the_session_key_is_nobody_elses(app, settings):
    """Key and folder are readable by the web process' user only."""
    assert settings.state_dir.stat().st_mode & 0o077 == 0
    for path in Path(settings.state_dir).iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_a_session_ends_after_its_days(owner, clock: FakeClock):
    """A cookie of a month ago opens nothing."""
    clock.advance(31 * 86_400_000)
    assert owner.get("/", follow_redirects=False).status_code == 303


def test_a_forged_cookie_is_nobody(browser):
    """What we did not seal is no session."""
    for cookie in ("", "x", "A" * 200, "é" * 10, "=" * 30, "A" * 5_000):
        answer = browser.get("/", headers={"cookie": f"terang_session={cookie}".encode()}, follow_redirects=False)
        assert answer.status_code == 303


def test_guessing_is_slowed_down_and_locks_nobody_else_out(settings, house, clock, tmp_path, enter):
    """Five wrong guesses make one wait; the owner, who has come from elsewhere before, still gets in."""
    behind = replace(settings, proxies=frozenset({"testclient"}))
    app = create_app(behind, house, CoreClient(tmp_path / "core.sock"), clock=clock)
    known, stranger = TestClient(app), TestClient(app)
    known.headers["x-forwarded-for"] = "198.51.100.1"
    stranger.headers["x-forwarded-for"] = "203.0.113.9"
    assert enter(known, "sari") == 303
    assert [enter(stranger, "sari", "wrong password") for _ in range(7)] == [401] * 5 + [429] * 2
    assert enter(stranger, "budi") == 303
    assert enter(known, "sari") == 303


def test_a_wait_says_how_long(browser, enter, csrf, clock: FakeClock):
    """The answer to one try too many names the minutes, and after them the right password opens again."""
    for _ in range(5):
        enter(browser, "budi", "wrong password")
    form = {"name": "budi", "password": "kopi tubruk 9", "_csrf_token": csrf(browser)}
    answer = browser.post("/login", data=form)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) == 300
    assert "5 menit" in answer.text
    clock.advance(300_001)
    assert enter(browser, "budi") == 303


def test_one_goes_on_to_where_one_wanted(browser, csrf):
    """The page that asked for the login is the one that follows it."""
    form = {"name": "sari", "password": "melati kuning 7", "next": "/rooms/3?period=hour", "_csrf_token": csrf(browser)}
    answer = browser.post("/login", data=form, follow_redirects=False)
    assert answer.headers["location"] == "/rooms/3?period=hour"


@pytest.mark.parametrize(
    "path",
    [
        *("//evil.example", "https://evil.example", "/\\evil.example", "\\/evil.example", "javascript:alert(1)", ""),
        *(
            "/\t/evil.example",
            "/ /evil",
            "/é",
            "/login",
            "/logout?x=1",
            "evil",
            None,
            "/" + "a" * 600,
            "/a\r\nSet-Cookie: x=1",
        ),
    ],
)
def test_no_login_leads_to_another_site(path):
    """Whatever stands in `next`, one lands on a page of ours."""
    assert safe_next(path) == "/"


@given(st.text(max_size=40))
def test_next_is_always_a_path_here(path):
    """Any text becomes a path with one slash at its beginning."""
    answer = safe_next(path)
    assert answer.startswith("/")
    assert not answer.startswith(("//", "/\\"))
    assert "\\" not in answer


def test_the_language_is_remembered(browser, csrf):
    """Indonesian at first, English when chosen, also after logging in."""
    assert '<html lang="id"' in browser.get("/login").text
    form = {"language": "en", "back": "/login", "_csrf_token": csrf(browser)}
    answer = browser.post("/language", data=form, follow_redirects=False)
    assert answer.headers["location"] == "/login"
    assert '<html lang="en"' in browser.get("/login").text
    browser.post("/language", data={"language": "xx", "back": "//evil.example", "_csrf_token": csrf(browser)})
    assert '<html lang="en"' in browser.get("/login").text


class _Asking:
    def __init__(self, host: str, forwarded: str) -> None:
        self.client = type("Address", (), {"host": host})()
        self.headers = {"x-forwarded-for": forwarded}


@pytest.mark.parametrize(
    ("host", "forwarded", "address"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("127.0.0.1", "", "127.0.0.1"),
    ],
)
def test_only_our_own_proxies_are_believed(host, forwarded, address):
    """Nobody chooses the own address by a header."""
    asking = _Asking(host, forwarded)
    assert client_address(asking, frozenset({"127.0.0.1", "10.0.0.2"})) == address  # type: ignore[arg-type]
