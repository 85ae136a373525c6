"""A real browser on the real pages: two people at once."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect, sync_playwright
from tests.web.house import PASSWORDS
from tests.web.test_process import HERE, answers, free_port, until

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)
PHONE, DESK = ViewportSize(width=390, height=844), ViewportSize(width=1280, height=900)

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The house behind granian; its address."""
    port, folder = free_port(), tmp_path_factory.mktemp("house")
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(HERE / "house.py"), str(folder), str(port)]
    with subprocess.Popen(command) as process:
        try:
            until(lambda: answers(base))
            yield base
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def chromium(chromium_path: Path, served: str) -> Iterator[dict[str, BrowserContext]]:
    """An owner's browser at a desk, a tenant's phone."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=list(FLAGS))
        yield {
            "sari": browser.new_context(base_url=served, viewport=DESK),
            "budi": browser.new_context(base_url=served, viewport=PHONE, has_touch=True, is_mobile=True),
            "plain": browser.new_context(base_url=served, viewport=PHONE, java_script_enabled=False),
            "dark": browser.new_context(base_url=served, viewport=PHONE, color_scheme="dark"),
        }
        browser.close()


def enter(context: BrowserContext, name: str) -> tuple[Page, list[str]]:
    """Log in by hand; what the console complains of is collected."""
    context.clear_cookies()
    context.set_default_timeout(15_000)
    page, complaints = context.new_page(), []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/login")
    page.get_by_label("Nama").fill(name)
    page.get_by_label("Kata sandi").fill(PASSWORDS[name])
    page.get_by_role("button", name="Masuk").click()
    page.wait_for_url(lambda url: not url.endswith("/login"))
    return page, complaints


def test_owner_and_tenant_click_through_at_once(chromium):
    """Login, room, live values, proof: on a desk and on a phone at the same time, without one complaint."""
    (owner, first), (tenant, second) = enter(chromium["sari"], "sari"), enter(chromium["budi"], "budi")
    expect(tenant.get_by_role("heading", name="Kamar 3")).to_be_visible()
    expect(tenant.get_by_text("Kamar 1")).to_have_count(0)
    owner.get_by_role("link", name="Kamar 3").click()
    for page in (owner, tenant):
        measured = page.locator('#now [data-live="time_ms"]')
        before = measured.inner_text()
        expect(measured).not_to_have_text(before, timeout=10_000)
        assert re.fullmatch(r"diukur \d\d\.\d\d\.\d\d", measured.inner_text())
        expect(page.locator('#now [data-live="energy_mwh"]')).to_have_text(re.compile(r"^1\.204,\d{3}$"))
        page.locator("#readings .f-hash code").first.wait_for()
        expect(page.locator(".plot .uplot")).to_be_visible()
        page.get_by_role("link", name="bukti").last.click()
        expect(page.locator(".tick.held")).to_have_count(3, timeout=15_000)
        expect(page.get_by_role("link", name="Unduh bukti (JSON)")).to_be_visible()
    assert first == []
    assert second == []
    for page in (owner, tenant):
        page.close()


def test_a_waiting_reading_gets_its_block_without_reloading(chromium):
    """The proof of a reading just taken waits, and turns when the block is there."""
    page, complaints = enter(chromium["sari"], "sari")
    page.goto("/rooms/3")
    page.evaluate("window.notReloaded = true")
    page.locator("#readings .f-block").first.wait_for()
    expect(page.locator("#readings tbody tr").first.locator(".f-hash code").first).to_be_visible(timeout=15_000)
    assert page.evaluate("window.notReloaded")
    assert complaints == []
    page.close()


def test_the_history_turns_in_place(chromium):
    """Hour, day and month are drawn where they stand, and the address follows."""
    page, complaints = enter(chromium["sari"], "sari")
    page.goto("/rooms/3")
    for tab, title in (("Jam", "Satu jam terakhir"), ("Bulan", re.compile(r"^\w+ 20\d\d$"))):
        page.get_by_role("link", name=tab, exact=True).click()
        expect(page.locator("#history h3")).to_have_text(title)
        expect(page.locator("#history .uplot")).to_be_visible()
    assert "period=month" in page.url
    page.get_by_role("link", name="Sebelumnya").click()
    expect(page.locator("#history .uplot")).to_be_visible()
    assert complaints == []
    page.close()


@pytest.mark.parametrize("who", ["sari", "budi", "dark"])
def test_every_page_fits_and_can_be_touched(chromium, who):
    """No page is wider than its screen, and what is clicked is 44 px high, on desk and phone, light and dark."""
    page, complaints = enter(chromium[who], "budi" if who == "budi" else "sari")
    paths = ["/rooms/3", "/ledger", "/proof/12002/3"]
    if who != "budi":
        paths += ["/", "/rooms/5", "/devices", "/refused", "/notices"]
    for path in paths:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.evaluate(TOO_SMALL) == [], path
        assert page.evaluate(TOO_FAINT) == [], path
    assert complaints == []
    page.close()


def test_everything_reads_without_scripts(chromium):
    """With JavaScript off: log in, the room, the chart's table, older readings, a proof, the other language."""
    context = chromium["plain"]
    page, _ = enter(context, "budi")
    expect(page.get_by_role("heading", name="Kamar 3")).to_be_visible()
    page.get_by_text("Lihat sebagai tabel").click()
    expect(page.locator("#history table")).to_be_visible()
    page.get_by_role("link", name="Lebih lama").click()
    expect(page.get_by_role("link", name="Terbaru")).to_be_visible()
    page.get_by_role("link", name="bukti").first.click()
    expect(page.locator(".tick")).to_have_count(3)
    page.get_by_label("Bahasa dan akun").click()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Proof of a reading")).to_be_visible()
    page.get_by_label("Language and account").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_keyboard_reaches_everything(chromium):
    """From the top: the skip link, then every link and button in order, each with a visible outline."""
    page, _ = enter(chromium["sari"], "sari")
    page.goto("/rooms/3")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        outline, label = page.evaluate(
            "() => [getComputedStyle(document.activeElement).outlineStyle, document.activeElement.textContent.trim()]"
        )
        if label and len(label) < 60:
            assert outline != "none", label
            seen.add(label)
    assert {"Kos Melati", "Alat", "Hari", "Unduh CSV"} <= seen
    page.close()


TOO_SMALL = """() => [...document.querySelectorAll("a, button, summary, input")].filter((element) => {
  const box = element.getBoundingClientRect();
  if (element.type === "hidden" || element.classList.contains("skip") || box.width === 0) return false;
  if (element.type === "checkbox" || element.closest("h3, main p")) return false;
  return box.height < 43.9;
}).map((element) => element.outerHTML.slice(0, 80))"""

# Contrast as WCAG 2 counts it, of every element that has text of its own against the nearest ground behind it.
TOO_FAINT = """() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return parse(getComputedStyle(document.documentElement).backgroundColor);
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const box = element.getBoundingClientRect();
    if (!own || !box.width || element.closest(".unseen, .skip")) continue;
    const back = ground(element);
    const style = getComputedStyle(element);
    const ink = parse(style.color).slice(0, 3)
      .map((one, index) => one * Number(style.opacity) + back[index] * (1 - Number(style.opacity)));
    const [high, low] = [light(ink), light(back)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${element.className} ${element.textContent.trim().slice(0, 30)}`);
  }
  return faint;
}"""
