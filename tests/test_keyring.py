"""The platform's own secrets: made once, kept private, and never replaced in silence."""

from pathlib import Path

import pytest

from terang.keyring import load_keyring
from terang.serve.house import prepare
from terang.settings import Settings
from terang.values.errors import SettingError


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    """A second start has the same keys, and nobody else may read them."""
    first = load_keyring(tmp_path / "keys")
    again = load_keyring(tmp_path / "keys")
    assert (first.platform.seed, first.checkpoint.seed, first.site) == (
        again.platform.seed,
        again.checkpoint.seed,
        again.site,
    )
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "keys").iterdir()} == {0}


@pytest.mark.parametrize("name", ["platform.key", "checkpoint.key", "site.id"])
def test_a_lost_key_stops_the_start(tmp_path: Path, name: str) -> None:
    """A key that was lost is not replaced without a word; with the old one back in its place the house starts."""
    settings = Settings(data=tmp_path)
    prepare(settings)
    path = tmp_path / "keys" / name
    kept = path.read_text()
    path.unlink()
    with pytest.raises(SettingError, match=name.replace(".", r"\.")):
        prepare(settings)
    path.write_text(kept)
    prepare(settings)


@pytest.mark.parametrize("text", ["", "zz", "00" * 31])
def test_a_broken_key_is_named(tmp_path: Path, text: str) -> None:
    """A file that holds no key is one clear line, not a new key."""
    load_keyring(tmp_path)
    (tmp_path / "checkpoint.key").write_text(text)
    with pytest.raises(SettingError, match=r"checkpoint\.key"):
        load_keyring(tmp_path)
