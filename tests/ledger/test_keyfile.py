"""Keys in files."""

import pytest

from terang.ledger.keyfile import load_or_create_key
from terang.values.errors import SettingError


def test_a_key_is_made_once_and_kept(tmp_path):
    """The first call makes the key, for its owner's eyes only; later calls read the same one."""
    path = tmp_path / "deep" / "signer.key"
    key = load_or_create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create_key(path) == key
    assert load_or_create_key(tmp_path / "other.key") != key
    assert [entry.name for entry in path.parent.iterdir()] == ["signer.key"]


def test_a_key_that_others_may_read_is_refused(tmp_path):
    """The error says what to run."""
    path = tmp_path / "signer.key"
    load_or_create_key(path)
    path.chmod(0o640)
    with pytest.raises(SettingError, match="chmod 600"):
        load_or_create_key(path)


@pytest.mark.parametrize("text", ["", "hello", "00" * 32, "11" * 31, "ff" * 32])
def test_what_is_no_key_is_refused(tmp_path, text):
    """Nothing, junk, zero, too short and too large: one clear error, and the file stays as it is."""
    path = tmp_path / "signer.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingError, match="does not hold a key"):
        load_or_create_key(path)
    assert path.read_text() == text
