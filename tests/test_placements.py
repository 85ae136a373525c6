"""A meter that moves to another room takes nothing of its past with it, and leaves nothing behind."""

import pytest
from litestar.testing import TestClient

from terang.kits_installed import load_pages
from terang.serve.pages import Pages
from terang.testing import FakeDevice, MiniPlatform, moment
from terang.values.command import AddRoom, AddUser, PlaceMeter, StartTenancy
from terang.web.core import CoreClient
from terang.web.server import create_app
from terang.web.settings import WebSettings

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
NOW_MS = 1_763_600_400_000  # 08.00 in Jakarta, on the hour
HASH = "$argon2id$v=19$m=65536$x"


class Moved:
    """Meter 1 measures Kamar 1 for an hour and a half, then Kamar 2; meter 2 replaces it in Kamar 1."""

    def __init__(self, platform, tmp_path):
        self.platform, self.device, self.energy = platform, FakeDevice(1), {1: 1_000_000, 2: 5_000_000}
        platform.adopt(self.device)
        for number in (1, 2):
            platform.order(AddRoom(name=f"Kamar {number}"))
            platform.order(AddUser(name=f"tenant{number}", password_hash=HASH, role="tenant"))
            platform.order(StartTenancy(room=f"Kamar {number}", user=f"tenant{number}", from_ms=NOW_MS - HOUR_MS))
        platform.clock.advance(NOW_MS - platform.clock.now_ms())
        self.place(1, "Kamar 1")
        self.live(1, 90)
        self.place(1, "Kamar 2")
        self.place(2, "Kamar 1")
        self.live(1, 90)
        self.live(2, 60, back=90)
        self.log = platform.log
        source = Pages(platform.log, platform.chain, platform.clock)
        settings = WebSettings(state_dir=tmp_path / "web")
        core = CoreClient(tmp_path / "core.sock")
        self.app = create_app(settings, source, core, kits=load_pages(), clock=platform.clock)
        self.source = source

    def place(self, meter, room):
        """A person places a meter now."""
        self.platform.order(PlaceMeter(device=self.device.id.hex(), address=meter, room=room))

    def live(self, meter, minutes, back=0):
        """A reading of 10 Wh a minute; time goes on, unless it begins that many minutes ago."""
        begin_ms = self.platform.clock.now_ms() - back * MINUTE_MS
        for minute in range(minutes):
            self.energy[meter] += 10_000
            utc_ms = begin_ms + minute * MINUTE_MS
            self.platform.take(self.device.readings([moment(self.energy[meter])], utc_ms=utc_ms, meter=meter))
            if not back:
                self.platform.clock.advance(MINUTE_MS)

    def visit(self, name):
        """A browser with this person's session."""
        client = TestClient(self.app)
        user = self.source.user_by_name(name)
        sessions = self.app.state.parts.sessions
        client.cookies.set("terang_session", sessions.start(user, self.platform.clock.now_ms()))
        return client


@pytest.fixture
def moved(tmp_path):
    with MiniPlatform(tmp_path) as platform:
        yield Moved(platform, tmp_path)


def readings(client, room, meter):
    """How many readings a person may list, by page, CSV and API; all three agree."""
    answer = client.get(f"/api/v1/rooms/{room}/readings?meter={meter}&limit=1000")
    if answer.status_code == 404:
        assert client.get(f"/rooms/{room}/readings.csv?meter={meter}").status_code == 404
        return None
    found = len(answer.json()["readings"])
    assert len(client.get(f"/rooms/{room}/readings.csv?meter={meter}").text.splitlines()) == found + 1
    return found


def test_nobody_reads_a_meters_past_in_another_room(moved):
    """What meter 1 said in Kamar 1 is tenant1's and stays so; tenant2 sees what it says in Kamar 2."""
    one, two = moved.visit("tenant1"), moved.visit("tenant2")
    assert readings(one, 1, 1) == 90
    assert readings(one, 1, 2) == 60
    assert readings(two, 2, 1) == 90
    assert readings(two, 2, 2) is None
    positions = {row["position"] for row in two.get("/api/v1/rooms/2/readings?limit=1000").json()["readings"]}
    old = {row["position"] for row in one.get("/api/v1/rooms/1/readings?meter=1&limit=1000").json()["readings"]}
    assert not positions & old
    assert two.get(f"/api/v1/records/{min(old)}/proof").status_code == 404
    moved.platform.anchor()
    assert one.get(f"/api/v1/records/{min(old)}/proof").status_code == 200


def test_energy_stays_with_the_room_that_used_it(moved):
    """The hour in which the meter moved belongs to the room that it left; later ones to the new. Nothing is doubled."""
    one, two = moved.visit("tenant1"), moved.visit("tenant2")
    first, second = (client.get(f"/api/v1/rooms/{room}").json()["today_mwh"] for client, room in ((one, 1), (two, 2)))
    total = sum(row[0] for row in moved.platform.writer.rows("SELECT confirmed_mwh FROM latest"))
    assert second == pytest.approx(60 * 10_000, abs=20_000)  # one full hour of Kamar 2's
    assert first + second == total
    hours = two.get(f"/api/v1/rooms/2/hours?from_ms=0&to_ms={NOW_MS + 24 * HOUR_MS}&meter=1").json()
    assert [row["hour_ms"] for row in hours] == [NOW_MS // HOUR_MS * HOUR_MS + 2 * HOUR_MS]


def test_the_page_shows_the_meter_that_was_replaced(moved):
    """Its readings can still be turned to; its live card is gone."""
    page = moved.visit("tenant1").get("/rooms/1?meter=1").text
    assert 'id="readings"' in page
    assert 'id="now"' not in page
    assert 'id="now"' in moved.visit("tenant1").get("/rooms/1").text
