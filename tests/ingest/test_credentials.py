"""Who may log in at the broker, and to which topics."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terang.commands import mqtt_password_hash
from terang.ingest.credentials import CORE_USER, Login, PasswordFile, may, write_credentials

ME, OTHER = "a" * 32, "b" * 32


@pytest.mark.parametrize(
    ("user", "topic", "publish", "allowed"),
    [
        (ME, f"terang/v1/{ME}/up", True, True),
        (ME, f"terang/v1/{ME}/down", False, True),
        (ME, f"terang/v1/{ME}/down", True, False),
        (ME, f"terang/v1/{ME}/up", False, False),
        (ME, f"terang/v1/{OTHER}/up", True, False),
        (ME, f"terang/v1/{OTHER}/down", False, False),
        (ME, "terang/v1/+/down", False, False),
        (ME, "terang/v1/#", False, False),
        (ME, "#", False, False),
        (ME, f"terang/v1/{ME}/up/x", True, False),
        (ME, f"terang/v2/{ME}/up", True, False),
        (ME, "$SYS/broker", False, False),
        (ME, f"$share/x/terang/v1/{ME}/down", False, False),
        ("", "terang/v1//up", True, True),
        (CORE_USER, "terang/v1/+/up", False, True),
        (CORE_USER, f"terang/v1/{ME}/down", True, True),
        (CORE_USER, f"terang/v1/{ME}/up", True, False),
        (CORE_USER, "terang/v1/+/down", False, False),
        (CORE_USER, "#", False, False),
    ],
)
def test_everybody_keeps_to_topics_of_their_own(user, topic, publish, allowed):
    """A device writes its up and reads its down; the platform reads every up and writes every down; nothing else."""
    assert may(user, topic, publish=publish) is allowed


@given(topic=st.text(alphabet="terangv1/+#updown" + "ab", max_size=60), publish=st.booleans())
def test_no_other_topic_is_a_devices(topic, publish):
    """Of all topics exactly one may be written and one read."""
    assert may(ME, topic, publish=publish) is (topic == f"terang/v1/{ME}/{'up' if publish else 'down'}")


def test_a_password_is_right_or_wrong(tmp_path):
    """Only the password that was given out lets in; unknown users, missing files and broken lines do not."""
    path = tmp_path / "passwd"
    file = PasswordFile(path)
    assert not file.accepts(ME, "secret")
    write_credentials(
        tmp_path, [Login(ME, mqtt_password_hash("secret")), Login(OTHER, "$7$x$y$z"), Login("c", "plain")]
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert file.accepts(ME, "secret")
    for user, password in [
        (ME, "Secret"),
        (ME, ""),
        (ME, None),
        (OTHER, "secret"),
        ("c", "plain"),
        ("d", "x"),
        (None, None),
        ("", ""),
    ]:
        assert not file.accepts(user, password)


def test_a_replaced_file_is_read_anew(tmp_path):
    """A revoked device is out as soon as the file was replaced."""
    file = PasswordFile(tmp_path / "passwd")
    write_credentials(tmp_path, [Login(ME, mqtt_password_hash("secret"))])
    assert file.accepts(ME, "secret")
    write_credentials(tmp_path, [])
    assert not file.accepts(ME, "secret")
    acl = (tmp_path / "acl").read_text()
    assert "pattern write terang/v1/%u/up" in acl
    assert f"user {CORE_USER}" in acl
