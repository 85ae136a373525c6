"""The device's key."""

import stat

import pytest

from terang.edge.keys import HeldKey, create_key, is_held
from terang.values.errors import DeviceError, KeyInUse


def test_a_key_is_made_once_and_for_the_owner_only(tmp_path):
    """Mode 0600, readable again, never overwritten, and nothing else is left in the folder."""
    path = tmp_path / "new" / "device.key"
    pair = create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with HeldKey(path) as held:
        assert held.pair.public == pair.public
    before = path.read_bytes()
    with pytest.raises(DeviceError, match="never overwritten"):
        create_key(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["device.key"]


def test_one_holder_at_a_time(tmp_path):
    """A second holder is told so; after the first lets go the key is free."""
    path = tmp_path / "device.key"
    create_key(path)
    assert not is_held(path)
    with HeldKey(path):
        assert is_held(path)
        with pytest.raises(KeyInUse, match="one device has one agent"):
            HeldKey(path)
    assert not is_held(path)
    HeldKey(path).close()


@pytest.mark.parametrize("content", ["", "xyz", "ab" * 31, "ab" * 33, "\xff" * 64])
def test_a_broken_key_is_named(tmp_path, content):
    """Whatever is no key is one clear error, and is not held afterwards."""
    path = tmp_path / "device.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(DeviceError, match="64 hex digits"):
        HeldKey(path)
    assert not is_held(path)


def test_a_key_that_others_may_read_is_refused(tmp_path):
    """A secret that is none any more is not used silently; a missing one says what to do."""
    path = tmp_path / "device.key"
    create_key(path)
    path.chmod(0o644)
    with pytest.raises(DeviceError, match="chmod 600"):
        HeldKey(path)
    with pytest.raises(DeviceError, match="does not exist"):
        HeldKey(tmp_path / "other.key")
