"""The pages over a house in memory, and people who visit them."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from tests.web.house import NOW_MS, PASSWORDS, Core, House

from terang.kits_installed import load_pages
from terang.values.clock import FakeClock
from terang.web.core import CoreClient
from terang.web.server import create_app
from terang.web.settings import WebSettings


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


@pytest.fixture
def house(clock: FakeClock) -> House:
    return House(clock)


@pytest.fixture
def settings(tmp_path: Path) -> WebSettings:
    return WebSettings(state_dir=tmp_path / "web", rpc_url="http://127.0.0.1:8545")


@pytest.fixture
def make_app(settings: WebSettings, house: House, clock: FakeClock, tmp_path: Path) -> Callable[[], Litestar]:
    """Makes an app without a core; the same `settings` each time, as after a restart."""
    return lambda: create_app(settings, house, CoreClient(tmp_path / "core.sock"), kits=load_pages(), clock=clock)


@pytest.fixture
def app(make_app: Callable[[], Litestar]) -> Litestar:
    return make_app()


def csrf_of(client: TestClient[Litestar]) -> str:
    """The token that a form of this browser carries."""
    if "terang_csrf" not in client.cookies:
        client.get("/login")
    return client.cookies["terang_csrf"]


def log_in(client: TestClient[Litestar], name: str, password: str | None = None) -> int:
    """Fill in the form; the status of the answer."""
    form = {"name": name, "password": password or PASSWORDS[name], "_csrf_token": csrf_of(client)}
    return client.post("/login", data=form, follow_redirects=False).status_code


def visiting(app: Litestar, house: House, name: str) -> TestClient[Litestar]:
    """A browser with this person's session, as after logging in."""
    client = TestClient(app)
    user = house.user_by_name(name)
    assert user is not None
    client.cookies.set("terang_session", app.state.parts.sessions.start(user, house.clock.now_ms()))
    return client


@pytest.fixture
def browser(app: Litestar) -> TestClient[Litestar]:
    """A browser at the door."""
    return TestClient(app)


@pytest.fixture
def owner(app: Litestar, house: House) -> TestClient[Litestar]:
    """Sari, who owns the house."""
    return visiting(app, house, "sari")


@pytest.fixture
def tenant(app: Litestar, house: House) -> TestClient[Litestar]:
    """Budi, who has lived in Kamar 3 for twenty days."""
    return visiting(app, house, "budi")


@pytest.fixture
def newcomer(app: Litestar, house: House) -> TestClient[Litestar]:
    """Wati, who moved into Kamar 1 ninety minutes ago."""
    return visiting(app, house, "wati")


@pytest.fixture
def csrf() -> Callable[[TestClient[Litestar]], str]:
    return csrf_of


@pytest.fixture
def enter() -> Callable[..., int]:
    return log_in


@pytest.fixture
def core(house: House, tmp_path: Path) -> Iterator[Core]:
    """A core that serves the socket which the app of this test knows, in a thread of its own."""
    made, ready, stop = Core(house), threading.Event(), threading.Event()

    async def serve() -> None:
        async with made.serving(tmp_path / "core.sock"):
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    yield made
    stop.set()
    thread.join()
