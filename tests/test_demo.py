"""The whole product as a newcomer meets it: `terang demo` with a real broker, and a real browser in front of it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytestmark = [pytest.mark.serial, pytest.mark.browser, pytest.mark.broker, pytest.mark.chain]
TERANG = [sys.executable, "-c", "from terang.cli import main; main()"]
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser(chromium_path):
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(chromium_path), args=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory, mosquitto_path):
    """(address, data directory, process) of a demo that runs until it is told to end."""
    data = tmp_path_factory.mktemp("demo")
    errors = (data / "stderr").open("w")
    process = subprocess.Popen(
        [*TERANG, "demo", "--data", str(data), "--seconds", "3600", "--broker", "mosquitto"],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )
    address = next((line.split("live: ")[1].strip() for line in process.stdout or () if "live: " in line), None)
    assert address, (data / "stderr").read_text()
    yield address, data, process
    if process.poll() is None:
        process.kill()
    process.wait()
    errors.close()


def log_in(browser: Browser, address: str, data: Path, name: str) -> Page:
    page = browser.new_context(viewport={"width": 390, "height": 844}, locale="id-ID").new_page()
    page.goto(f"{address}/login")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", json.loads((data / "logins.json").read_text())[name])
    page.locator("form button").last.click()
    page.wait_for_url(lambda url: "/login" not in url)
    return page


def test_a_tenant_clicks_from_login_to_proof(demo, browser) -> None:
    """Login, the own room with live power and block hashes, and the proof of a reading with three ticks."""
    address, data, _ = demo
    page = log_in(browser, address, data, "kamar2")
    expect(page.locator("h1").first).to_contain_text("Kamar 2")
    proofs = page.locator('a[href^="/proof/"]')
    expect(proofs.nth(5)).to_be_visible()
    position = (proofs.nth(5).get_attribute("href") or "").split("/")[2]
    page.goto(f"{address}/proof/{position}")
    ticks = page.locator("#ticks")
    expect(ticks).to_contain_text("Ada di blok pada rantai", timeout=20_000)
    expect(ticks).to_contain_text("Ditandatangani")
    expect(ticks).to_contain_text("Ada di dalam catatan")
    with page.expect_download() as download:
        page.locator('a[href*="/proof.json"]').first.click()
    proof = data / "proof.json"
    download.value.save_as(proof)
    run = subprocess.run([*TERANG, "verify", str(proof), "--json"], capture_output=True, text=True, check=False)
    assert (run.returncode, json.loads(run.stdout)["verified"]) == (0, True)


def test_two_people_see_their_own(demo, browser) -> None:
    """The owner sees six rooms live while a tenant is logged in; the tenant gets 404 for another's room."""
    address, data, _ = demo
    owner, tenant = log_in(browser, address, data, "pemilik"), log_in(browser, address, data, "kamar1")
    for number in range(1, 7):
        expect(owner.get_by_text(f"Kamar {number}", exact=True)).to_be_visible()
    rooms = owner.locator('a[href^="/rooms/"]')
    other = next(
        href
        for index in range(rooms.count())
        if (href := rooms.nth(index).get_attribute("href")) and "Kamar 5" in rooms.nth(index).inner_text()
    )
    response = tenant.goto(f"{address}{other}")
    assert response is not None
    assert response.status == 404


def test_the_demo_ends_with_nothing_lost(demo, browser) -> None:
    """Told to end, it delivers what it has, and its last line says that nothing is lost and all is verified."""
    _, data, process = demo
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    result = json.loads(out.strip().splitlines()[-1])
    assert (result["lost"], result["invented"], result["verified"]) == (0, 0, True)
    assert result["readings"] == result["served"] >= 6 * 5
    assert result["committed"] > 0
    assert "Traceback" not in (data / "stderr").read_text()
    audit = subprocess.run([*TERANG, "audit", "--data", str(data)], capture_output=True, text=True, check=False)
    assert (audit.returncode, audit.stdout.strip()) == (0, "nothing differs")
