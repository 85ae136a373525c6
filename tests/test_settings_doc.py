"""docs/settings.md and docs/keys.md say of settings, mosquitto's lines and files what the code has."""

import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from terang.edge.config import EdgeConfig
from terang.ingest.credentials import Login, write_credentials
from terang.ingest.mosquitto import mosquitto_config
from terang.keyring import load_keyring
from terang.settings import HELP, Settings, load_settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "settings.md").read_text(encoding="utf-8")
KEYS = (DOCS / "keys.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| `([^`]+)` \| (.+) \|$", re.MULTILINE)


def rows(begin: str, end: str) -> dict[str, tuple[str, str]]:
    """name -> (default, text) of the tables between two texts of the page."""
    part = PAGE[PAGE.index(begin) : PAGE.index(end)]
    return {name: (default, text) for name, default, text in ROW.findall(part)}


def test_every_setting_is_on_the_page() -> None:
    """The table has every setting with its default and the words of HELP, in HELP's order, and nothing else."""
    found = rows("# Settings", "## Brokers")
    assert list(found) == list(HELP)
    assert {name: text for name, (_, text) in found.items()} == HELP
    defaults = Settings(data=Path())
    for name, (default, _) in found.items():
        assert tomllib.loads(f"x = {default}")["x"] == getattr(defaults, name), name


def test_every_setting_of_a_device_is_on_the_page() -> None:
    """The devices' table has every optional setting with its default; the rest is named."""
    found = rows("## Devices", "whose word is taken for the calendar")
    found |= {"clock": ('"kernel"', "")}
    optional = {field.name: field.default for field in fields(EdgeConfig) if field.default is not MISSING}
    assert {name: tomllib.loads(f"x = {default}")["x"] for name, (default, _) in found.items()} == optional
    for name in ("platform_key", "[broker]", "[[buses]]"):
        assert f"`{name}`" in PAGE[PAGE.index("## Devices") :]


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_are_settings(number: int, tmp_path: Path) -> None:
    """Each example of terang.toml can be started with."""
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 2
    (tmp_path / "terang.toml").write_text(examples[number], encoding="utf-8")
    load_settings(tmp_path, {})


def test_the_lines_of_mosquitto_are_those_that_are_explained() -> None:
    """Each line about durability or access in our configuration is on the page, and with the same value."""
    ours = mosquitto_config(host="127.0.0.1", port=1883, directory=Path("DATA/broker")).splitlines()
    table = PAGE[PAGE.index("| line | why |") : PAGE.index("### A mosquitto of your own")]
    explained = set(re.findall(r"`([a-z_]+ \w+)`", table))
    own = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()
    about = [line for line in ours if not line.startswith(("listener", "log_", "persistence_location"))]
    for line in about:
        assert line in explained or line in own, line
    assert explained <= set(ours)
    assert set(own) <= set(ours)


def test_the_acl_on_the_page_is_the_one_that_is_written(tmp_path: Path) -> None:
    """The page shows the whole ACL file."""
    write_credentials(tmp_path, [Login("a", "b")])
    assert f"```text\n{(tmp_path / 'acl').read_text()}```" in PAGE


def test_every_key_file_is_on_the_page_of_keys(tmp_path: Path) -> None:
    """docs/keys.md names each file that a first start makes in keys/."""
    load_keyring(tmp_path)
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"platform.key", "checkpoint.key", "site.id", "broker.key"}
    for name in made | {"committer.key"}:
        assert f"`keys/{name}`" in KEYS, name
