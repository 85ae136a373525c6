"""The web process as `terang serve` runs it: real HTTP, real socket, a real parent."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from tests.web.house import PASSWORDS

HERE = Path(__file__).parent
DEADLINE_S = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; a failure after half a minute says which."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)


def answers(base: str) -> bool:
    try:
        return httpx.get(f"{base}/health").json() == {"store": True, "core": True}
    except httpx.TransportError:
        return False


@contextmanager
def logged_in(base: str, name: str) -> Iterator[httpx.Client]:
    """A client with this person's session."""
    with httpx.Client(base_url=base, timeout=DEADLINE_S) as client:
        client.get("/login")
        form = {"name": name, "password": PASSWORDS[name], "_csrf_token": client.cookies["terang_csrf"]}
        assert client.post("/login", data=form).status_code == 303
        yield client


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The house behind granian; its address."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(HERE / "house.py"), str(tmp_path), str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            until(lambda: answers(base))
            yield base
        finally:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=DEADLINE_S)
        assert said == b""
        assert process.returncode == 0


def live_events(client: httpx.Client, count: int) -> list[dict]:
    found = []
    with client.stream("GET", "/live") as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and name == "live":
                found.append(json.loads(line.removeprefix("data: ")))
                if len(found) == count:
                    break
    return found


def test_two_clients_hear_what_is_committed(served):
    """Through core, socket, granian and HTTP: the owner hears three meters, the tenant the own one."""
    with logged_in(served, "sari") as owner, logged_in(served, "budi") as tenant:
        assert [{one["meter"] for one in event["readings"]} for event in live_events(owner, 2)] == [{1, 2, 3}] * 2
        assert [{one["meter"] for one in event["readings"]} for event in live_events(tenant, 2)] == [{3}] * 2
        assert tenant.get("/rooms/1").status_code == 404


def test_a_page_that_is_left_makes_room(served):
    """One person may have twenty pages open; those that were closed do not count."""
    with logged_in(served, "budi") as tenant:

        def opens() -> bool:
            with tenant.stream("GET", "/live") as stream:
                return stream.status_code == 200

        for _ in range(25):
            until(opens)
        streams: list[httpx.Response] = []
        while len(streams) < 21:
            stream = tenant.send(tenant.build_request("GET", "/live"), stream=True)
            streams.append(stream)
            if stream.status_code == 429:
                break
        assert streams[-1].status_code == 429
        assert streams[-1].headers["retry-after"] == "30"
        for stream in streams:
            stream.close()
        until(opens)


def test_assets_are_served_for_ever(served):
    """What a page names is there, typed, and may be kept; what is not named is not."""
    page = httpx.get(f"{served}/login").text
    names = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(names) == 8
    for name in names:
        answer = httpx.get(served + name)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert "unbuilt" not in name
    for fonts in re.findall(r'url\("([^"]+)"\)', httpx.get(served + names[2]).text):
        assert httpx.get(f"{served}/static/{fonts}").status_code == 200
    assert httpx.get(f"{served}/static/../server.py").status_code == 404
    assert httpx.get(f"{served}/static/%2e%2e/server.py").status_code == 404
    assert httpx.get(f"{served}/static/").status_code == 404


def test_too_much_is_refused(served):
    """A form of a megabyte is 413 or cut off, a method that is not there 405; the process goes on."""
    with httpx.Client(base_url=served) as client:
        client.get("/login")
        cookies = dict(client.cookies)
        form = {"name": "x" * 1_000_000, "_csrf_token": cookies["terang_csrf"]}
        with suppress(httpx.TransportError):  # who hangs up on a body that is still coming may be heard or not
            assert client.post("/login", data=form).status_code == 413
    with httpx.Client(base_url=served, cookies=cookies) as client:
        assert client.delete("/login", headers={"x-csrftoken": cookies["terang_csrf"]}).status_code == 405
        assert client.get("/health").status_code == 200


PARENT = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); sys.stdin.read()"


def test_it_does_not_outlive_its_parent(tmp_path):
    """When the process that started it is killed, the address is free again within seconds."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", PARENT, sys.executable, str(HERE / "house.py"), str(tmp_path), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as parent:
        until(lambda: answers(base))
        with logged_in(base, "sari") as owner, owner.stream("GET", "/live") as stream:
            assert stream.status_code == 200
            parent.kill()
            parent.wait()
            until(lambda: not answers(base))
