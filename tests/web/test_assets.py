"""What the pages load: built from locked packages, everything our own."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "web-assets"
STATIC = ROOT / "src" / "terang" / "web" / "static"


def test_the_lock_has_hashes_and_no_hosts():
    """Exact versions with their hashes, from whatever registry the machine knows."""
    lock = json.loads((ASSETS / "package-lock.json").read_text())
    package = json.loads((ASSETS / "package.json").read_text())
    wanted = {**package["dependencies"], **package["devDependencies"]}
    locked = {name.removeprefix("node_modules/"): entry for name, entry in lock["packages"].items() if name}
    assert locked.keys() == wanted.keys()
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert locked[name]["version"] == version
        assert locked[name]["integrity"].startswith("sha512-")
    assert "resolved" not in json.dumps(lock)
    assert "omit-lockfile-registry-resolved=true" in (ASSETS / ".npmrc").read_text()


def test_every_asset_that_a_template_names_is_built():
    """`asset("x")` finds x in the manifest, and every file of ours is served as it was written."""
    manifest = json.loads((STATIC / "manifest.json").read_text())
    for template in (ROOT / "src" / "terang" / "web" / "templates").rglob("*.html"):
        for name in re.findall(r'asset\("([^"]+)"\)', template.read_text(encoding="utf-8")):
            assert name in manifest, f"{template.name}: {name}; run scripts/build_assets"
    for source in (ASSETS / "src").iterdir():
        built = (STATIC / source.name).read_text(encoding="utf-8")
        assert re.sub(r"\?v=\w+", "", built) == source.read_text(encoding="utf-8"), "run scripts/build_assets"


def test_our_scripts_make_no_code_of_text():
    """No eval, no markup out of strings, no address but our own."""
    for path in (*(ASSETS / "src").glob("*.js"), *(ASSETS / "verify").glob("*.js")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"\beval\b|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|https?://", text
        )


def test_every_package_brings_its_licence():
    """What is not ours is shipped with its terms."""
    for name in ("htmx", "uplot", "inter", "noble"):
        assert (STATIC / f"licence-{name}.txt").stat().st_size > 500
