"""The saved verifier: JavaScript that takes and refuses what our own checker does, and names the same step."""

import functools
import json
import os
import random
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from nacl import bindings
from nacl.exceptions import BadSignatureError
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.web.forged import forged_text
from tests.web.test_browser import DESK, FLAGS, PHONE

from terang.ledger.checkpoint import read_head
from terang.ledger.proof import StepFailed, check_proof, document_text, parse_document
from terang.values.errors import ProofError

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "web-assets"
BUILT = ROOT / "src" / "terang" / "web" / "static" / "verify.html"
VECTORS = json.loads((ROOT / "tests" / "vectors" / "proof.json").read_text(encoding="utf-8"))
GOOD = [vector["text"] for vector in VECTORS["good"]]
RUN = """
import { readFileSync } from "node:fs";
import { check } from "./verify/verifier.js";
const answers = JSON.parse(readFileSync(0, "utf8")).map(([text, kept]) => check(text, kept));
process.stdout.write(JSON.stringify(answers));
"""


def in_node(node: Path, program: str, asked: object) -> list:
    """What a module in web-assets answers to this on its standard input."""
    done = subprocess.run(
        [node, "--input-type=module", "-e", program],
        cwd=ASSETS,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    answers: list = json.loads(done.stdout)
    return answers


def by_javascript(node: Path, texts: list[str], kept: str = "") -> list[dict]:
    return in_node(node, RUN, [[text, kept] for text in texts])


def by_python(text: str, kept: str | None = None) -> str:
    """`holds`, or the step at which our own checker ends."""
    try:
        check_proof(parse_document(text), head=read_head(kept) if kept else None)
    except StepFailed as error:
        return error.step
    except ProofError:
        return "head"  # what was kept cannot be read
    return "holds"


def verdict(answer: dict) -> str:
    return "holds" if answer["holds"] else answer["step"]


def test_good_vectors_hold_and_show_the_same(node_path):
    """What a good proof shows, and every sentence on what was checked, is the same in both languages of ours."""
    for vector, answer in zip(VECTORS["good"], by_javascript(node_path, GOOD), strict=True):
        assert answer["holds"], answer
        assert {name: answer["shows"][name] for name in vector["shows"]} == vector["shows"]
        checked = check_proof(parse_document(vector["text"]))
        assert [tuple(step) for step in answer["steps"]] == checked.steps


def test_bad_vectors_stop_at_their_step(node_path):
    """Each at the step that the vector names."""
    answers = by_javascript(node_path, [vector["text"] for vector in VECTORS["bad"]])
    assert [verdict(answer) for answer in answers] == [vector["step"] for vector in VECTORS["bad"]]


def test_a_kept_checkpoint_is_compared(node_path):
    """The proof's own head and its `since` are known, another root or size is not, and what is no head is refused."""
    document = json.loads(GOOD[0])
    own = document["checkpoint"]
    lines = own.split("\n")
    swapped = "\n".join([lines[0], lines[1], "A" * 43 + "=", *lines[3:]])
    other_size = "\n".join([lines[0], "36", *lines[2:]])
    windows, spaced = own.replace("\n", "\r\n"), own.replace("\n38\n", "\n 3_8 \n")
    wanted = {own: "holds", windows: "holds", spaced: "holds", swapped: "head", other_size: "head", "nothing": "head"}
    for kept, expected in wanted.items():
        assert by_python(GOOD[0], kept) == expected
        answer = by_javascript(node_path, [GOOD[0]], kept)[0]
        assert verdict(answer) == expected
        assert answer.get("kept") == {other_size: "other", "nothing": "unreadable"}.get(kept)


def spoilt_text(rng: random.Random, text: str) -> str:
    """The text with one to three characters changed, gone or added."""
    letters = list(text)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at, how = rng.randrange(len(letters)), rng.random()
        if how < 0.7:
            letters[at] = rng.choice(letters) if rng.random() < 0.7 else chr(rng.randrange(0x250))
        elif how < 0.85:
            del letters[at]
        else:
            letters.insert(at, rng.choice(letters))
    return "".join(letters)


OTHERS = (None, True, False, 0, 1, -1, 1.0, 1.5, -0.0, 1e16, 1e-5, 123456.789, 1e300, 1 << 63, (1 << 63) - 1, "", "AA")
TEXTS = ("é", "\U0001f600", "\ud800", "\x7f", 'a"\\\n\t')
MORE: tuple[object, ...] = ([], {}, [0], [[]], {"a": 1}, float("inf"), float("-inf"), *TEXTS)


def spoilt_document(rng: random.Random, text: str) -> str:
    """The text with one value, anywhere, replaced: in its one form, so that the later steps are reached."""
    document = json.loads(text)
    inner = document
    while True:
        key = rng.choice(sorted(inner)) if isinstance(inner, dict) else rng.randrange(len(inner))
        if not isinstance(inner[key], dict | list) or not inner[key] or rng.random() < 0.15:
            break
        inner = inner[key]
    old, how = inner[key], rng.random()
    if isinstance(old, str) and old and how < 0.6:
        at = rng.randrange(len(old))
        inner[key] = old[:at] + rng.choice(old) + old[at + rng.randrange(2) :]
    elif isinstance(old, int) and how < 0.6:
        inner[key] = old + rng.choice((-1, 1, 1 << 40))
    elif isinstance(old, list) and how < 0.6:
        inner[key] = rng.choice((old[:-1], [*old, *old[-1:]], old[::-1]))
    elif how < 0.7 and isinstance(inner, dict):
        del inner[key]
    elif how < 0.75 and isinstance(inner, dict):
        inner[rng.choice(("zzz", "a", "é", "\U0001f600"))] = 1
    else:
        inner[key] = rng.choice((*OTHERS, *MORE))
    return document_text(document)


@pytest.mark.parametrize("spoil", [spoilt_text, spoilt_document])
def test_both_checkers_agree_on_whatever_was_changed(node_path, soak, spoil):
    """Hold or not, and the step: the same for every text."""
    rng = random.Random(405)
    texts = [spoil(rng, rng.choice(GOOD)) for _ in range(soak(20_000, 300))]
    answers = [verdict(answer) for answer in by_javascript(node_path, texts)]
    wanted = [by_python(text) for text in texts]
    assert [row for row in zip(answers, wanted, texts, strict=True) if row[0] != row[1]] == []
    if spoil is spoilt_document:
        assert {"form", "signature", "reading", "inclusion", "bindings", "event", "seal", "head"} <= set(answers)


def test_both_checkers_agree_on_what_the_holder_of_every_key_forges(node_path, soak):
    """Whatever is signed, hashed and sealed as it should be: bodies, acts, origins, receipts, trie nodes, seals."""
    rng = random.Random(406)
    texts = [forged_text(rng) for _ in range(soak(20_000, 600))]
    answers = [verdict(answer) for answer in by_javascript(node_path, texts)]
    wanted = [by_python(text) for text in texts]
    assert [row for row in zip(answers, wanted, texts, strict=True) if row[0] != row[1]] == []
    reached = {"holds", "form", "signature", "reading", "checkpoint", "bindings", "event", "seal", "genesis"}
    assert reached <= set(answers)


SIGNATURES = """
import { readFileSync } from "node:fs";
import { isSignedBy } from "./verify/signature.js";
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const asked = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(asked.map((parts) => isSignedBy(...parts.map(bytes)))));
"""
ODD = """
import { ed25519, ED25519_TORSION_SUBGROUP } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";
const { BASE, Fn, fromHex } = ed25519.Point, message = Buffer.from("reading");
const number = (bytes) => BigInt("0x" + Buffer.from(bytes).reverse().toString("hex"));
const bytes = (value) => Buffer.from(value.toString(16).padStart(64, "0"), "hex").reverse();
const small = ED25519_TORSION_SUBGROUP.map((hex) => ed25519.Point.fromHex(hex, true));
const made = [];
function make(secret, nonce, keyPart, noncePart, more = 0n) {
  const key = (secret ? BASE.multiply(secret) : ed25519.Point.ZERO).add(keyPart).toBytes();
  const first = (nonce ? BASE.multiply(nonce) : ed25519.Point.ZERO).add(noncePart).toBytes();
  const k = number(sha512(Buffer.concat([first, key, message])));
  const signature = Buffer.concat([first, bytes(((nonce + k * secret) % Fn.ORDER) + more)]);
  made.push([key, message, signature].map((one) => Buffer.from(one).toString("hex")));
}
for (let i = 1n; i <= 5n; i++)
  for (const a of small)
    for (const b of small) {
      make(12345n * i, 67890n + i, a, b);
      make(12345n * i, 0n, a, b);
      make(0n, 67890n + i, a, b);
      make(12345n * i, 67890n + i, a, b, Fn.ORDER);
    }
process.stdout.write(JSON.stringify(made));
"""


def test_signatures_are_taken_as_libsodium_takes_them(node_path):
    """Also the odd ones that only their maker can make: parts of small order, a number beyond the group's order."""
    asked = in_node(node_path, ODD, None)
    answers = in_node(node_path, SIGNATURES, asked)
    wanted = [_opens(*(bytes.fromhex(part) for part in one)) for one in asked]
    assert answers == wanted
    assert 0 < sum(wanted) < len(wanted)


def _opens(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        bindings.crypto_sign_open(signature + message, key)
    except (BadSignatureError, ValueError):
        return False
    return True


def test_the_page_says_the_same_in_both_languages(node_path):
    """No text is missing in one of them."""
    program = (
        'import { TEXTS } from "./verify/texts.js"; process.stdout.write('
        "JSON.stringify(Object.values(TEXTS).map((texts) => Object.keys(texts))))"
    )
    first, second = in_node(node_path, program, None)
    assert first == second


def test_the_file_names_no_other(browser):
    """Everything inline, nothing loaded, and a policy that allows nothing else; the server says the same policy."""
    text = BUILT.read_text(encoding="utf-8")
    policy = text.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "connect-src" not in policy
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "import(", "crypto.subtle", "eval(", "innerHTML", " src="):
        assert word not in text, word
    answer = browser.get("/verify.html")
    assert answer.status_code == 200
    assert answer.text == text
    assert answer.headers["content-security-policy"] == f"{policy}; frame-ancestors 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture(scope="module")
def chromium(chromium_path: Path) -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium_path, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def plain_http() -> Iterator[str]:
    """The built file on a plain web server of this machine; its address."""
    handler = functools.partial(_Quiet, directory=str(BUILT.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/verify.html"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing of every request."""


def opened(chromium: Browser, address: str, *, phone: bool = True) -> tuple[Page, list[str], list[str]]:
    """The page, the addresses that it asked for, and what the console complains of."""
    context = chromium.new_context(viewport=PHONE if phone else DESK, locale="id-ID", timezone_id="Asia/Jakarta")
    page, asked, complaints = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    return page, asked, complaints


def give(page: Page, text: str) -> str:
    """Choose a file with this text; the verdict that the page then shows."""
    page.evaluate("document.getElementById('result').dataset.verdict = ''")
    page.locator("#file").set_input_files(
        {"name": "terang-proof-12.json", "mimeType": "application/json", "buffer": text.encode()}
    )
    expect(page.locator("#result")).to_have_attribute("data-verdict", re.compile("."))
    return page.locator("#result").get_attribute("data-verdict") or ""


@pytest.mark.browser
@pytest.mark.parametrize("way", ["file", "http"])
def test_a_browser_checks_without_a_network(chromium, plain_http, way):
    """From a file and from plain http: a good and every bad proof, and no request but for the page itself."""
    page, asked, complaints = opened(chromium, BUILT.as_uri() if way == "file" else plain_http)
    assert not page.locator("#result").is_visible()
    assert give(page, GOOD[0]) == "holds"
    expect(page.get_by_role("heading", name="Bukti ini cocok")).to_be_visible()
    expect(page.locator("#result")).to_contain_text("0,007 kWh")
    for vector in VECTORS["bad"]:
        assert give(page, vector["text"]) == vector["step"]
    expect(page.get_by_role("heading", name="Bukti ini tidak cocok")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="This proof does not hold")).to_be_visible()
    assert give(page, "x" * 2_000_000) == "unread"
    assert [address for address in asked if not address.startswith("data:")] == [asked[0]]
    assert complaints == []
    page.context.close()


@pytest.mark.browser
def test_pasting_and_a_kept_checkpoint(chromium):
    """A pasted text may lose its last newline; a kept checkpoint is compared as soon as it is there."""
    page, _, complaints = opened(chromium, BUILT.as_uri(), phone=False)
    page.get_by_text("Tempel teks bukti").click()
    page.get_by_label("Teks bukti").fill(f"  {GOOD[0].strip()}\n\n")
    page.get_by_role("button", name="Periksa").click()
    assert page.locator("#result").get_attribute("data-verdict") == "holds"
    page.get_by_text("Bandingkan dengan tanda akhir").click()
    own = json.loads(GOOD[0])["checkpoint"]
    page.get_by_label("Tanda akhir (checkpoint)").fill(own)
    expect(page.locator("#result")).to_contain_text("Satu riwayat dengan tanda akhir simpanan Anda")
    lines = own.split("\n")
    for changed, title in ((2, "Bukti ini tidak cocok"), (1, "Belum dapat dibandingkan")):
        other = [("A" * 43 + "=" if changed == 2 else "36") if at == changed else line for at, line in enumerate(lines)]
        page.get_by_label("Tanda akhir (checkpoint)").fill("\n".join(other))
        expect(page.locator("#result")).to_have_attribute("data-verdict", "head")
        expect(page.get_by_role("heading", name=title)).to_be_visible()
    assert complaints == []
    page.context.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_a_desk(chromium, scheme):
    """Nothing is wider than the screen, and what is clicked is 44 px high. TERANG_SHOTS=DIR keeps pictures."""
    for phone in (True, False):
        page, _, _ = opened(chromium, BUILT.as_uri(), phone=phone)
        page.emulate_media(color_scheme=scheme)
        for name, text in (("good", GOOD[0]), ("bad", VECTORS["bad"][4]["text"]), ("act", GOOD[3])):
            give(page, text)
            for box in page.locator("summary").all():
                box.click()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            heights = "Array.from(document.querySelectorAll('button, .button, summary'), (one) => one.offsetHeight)"
            assert all(height == 0 or height >= 44 for height in page.evaluate(heights))
            for box in page.locator("summary").all():
                box.click()
            if folder := os.environ.get("TERANG_SHOTS"):
                size = "phone" if phone else "desk"
                page.screenshot(path=f"{folder}/{size}-{scheme}-{name}.png", full_page=True)
        page.context.close()
