"""Settings and secrets: where they come from, and what is refused."""

import pytest

from terang.keyring import load_keyring
from terang.settings import HELP, Settings, load_settings
from terang.values.errors import SettingError


def test_defaults_file_environment_and_what_is_given(tmp_path):
    """Each later one wins: defaults, terang.toml, TERANG_NAME, what was given; None is not given."""
    assert load_settings(tmp_path, {}) == Settings(data=tmp_path)
    (tmp_path / "terang.toml").write_text('site_name = "Kos A"\nanchor_s = 5\nweb_port = 1\n')
    assert load_settings(tmp_path, {}).site_name == "Kos A"
    found = load_settings(
        tmp_path, {"TERANG_ANCHOR_S": "7", "TERANG_WEB_PORT": "2", "OTHER": "x"}, web_port=3, language=None
    )
    assert (found.anchor_s, found.web_port, found.site_name, found.language) == (7, 3, "Kos A", "id")


def test_every_setting_has_its_help():
    """The table of help and the settings are the same names."""
    assert [*HELP] == [name for name in Settings.__dataclass_fields__ if name != "data"]


@pytest.mark.parametrize(
    "text",
    [
        'anchor_s = "soon"',
        "anchor_s = 0",
        "anchor_s = 1.5",
        "anchor_s = true",
        "web_port = 65536",
        "web_port = -1",
        "site_name = 5",
        "nonsense = 1",
        'time_zone = "Asia"',
        'time_zone = "Mars/Base"',
        'time_zone = "../../etc/passwd"',
        'time_zone = ""',
        'language = "nl"',
        "keep_envelopes_days = -1",
        "= 5",
        "chain_period_s = 0",
        "anchor_s = [1]",
        "data = 'x'",
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, text):
    """Wrong types, ranges, names and broken files: SettingError that names the setting."""
    (tmp_path / "terang.toml").write_text(text)
    with pytest.raises(SettingError) as caught:
        load_settings(tmp_path, {})
    name = text.split("=")[0].strip()
    assert name in str(caught.value) or name == ""
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a = 'x" + b"\x80'"])
def test_a_file_that_is_no_text_is_refused(tmp_path, data):
    """Bytes that are not UTF-8 are a SettingError too."""
    (tmp_path / "terang.toml").write_bytes(data)
    with pytest.raises(SettingError, match="cannot be read"):
        load_settings(tmp_path, {})


def test_paths_lie_in_the_data_directory(tmp_path):
    """All that a platform keeps stands in one directory."""
    settings = Settings(data=tmp_path)
    for name in ("store_path", "chain_dir", "keys_dir", "broker_dir", "socket_path", "signing_state_path"):
        assert getattr(settings, name).parent == tmp_path


def test_secrets_are_made_once_for_their_owner_only(tmp_path):
    """The first start makes them, later ones read the same; nobody else can; no draft is left."""
    ring = load_keyring(tmp_path / "keys")
    again = load_keyring(tmp_path / "keys")
    assert (ring.platform.seed, ring.checkpoint.seed, ring.site, ring.broker_password) == (
        again.platform.seed,
        again.checkpoint.seed,
        again.site,
        again.broker_password,
    )
    assert len({ring.platform.seed, ring.checkpoint.seed, ring.site}) == 3
    files = sorted((tmp_path / "keys").iterdir())
    assert [path.name for path in files] == ["broker.key", "checkpoint.key", "platform.key", "site.id"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "hello", "00" * 31, "00" * 33, "zz" * 32])
def test_a_broken_secret_is_not_replaced(tmp_path, text):
    """It may be the only copy of what others rely on: SettingError, and the file stays as it is."""
    load_keyring(tmp_path)
    (tmp_path / "site.id").write_text(text)
    with pytest.raises(SettingError, match="backup"):
        load_keyring(tmp_path)
    assert (tmp_path / "site.id").read_text() == text
