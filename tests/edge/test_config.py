"""The file that a device is given when it is adopted."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terang.edge.config import CLOCKS, BusConfig, EdgeConfig, load_config, render_config
from terang.values.errors import SettingError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    host=TEXT,
    password=TEXT,
    port=st.integers(1, 65535),
    ports=st.lists(TEXT, min_size=1, max_size=3, unique=True),
    record_s=st.floats(0, 3600),
    clock=st.sampled_from(CLOCKS),
)
def test_what_is_written_is_read_again(tmp_path_factory, host, password, port, ports, record_s, clock):
    """Rendering and loading give the same configuration, whatever stands in its texts."""
    folder = tmp_path_factory.mktemp("device")
    config = EdgeConfig(
        folder=folder,
        broker_host=host,
        broker_port=port,
        username="u",
        password=password,
        platform_key=bytes(range(32)),
        buses=tuple(BusConfig(number=n, port=name, addresses=(1, 247)) for n, name in enumerate(ports)),
        record_s=record_s,
        clock=clock,
    )
    path = folder / "device.toml"
    path.write_text(render_config(config), encoding="utf-8")
    assert load_config(path) == config


GOOD = EdgeConfig(
    folder=None,  # type: ignore[arg-type]
    broker_host="h",
    broker_port=1883,
    username="u",
    password="p",
    platform_key=bytes(32),
    buses=(BusConfig(number=0, port="/dev/ttyUSB0", addresses=(1, 2)),),
)
ONE = GOOD.buses[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"platform_key": bytes(31)}, "64 hex digits"),
        ({"buses": ()}, "buses is missing"),
        ({"buses": (ONE, ONE)}, "two buses have one number"),
        ({"buses": (ONE, replace(ONE, number=1))}, "two buses have one port"),
        ({"buses": (replace(ONE, addresses=(0,)),)}, "1 to 247"),
        ({"buses": (replace(ONE, addresses=(1, 1)),)}, "each of its addresses once"),
        ({"poll_s": 0.0}, "poll_s"),
        ({"max_bytes": 1}, "max_bytes"),
        ({"clock": "gps"}, "clock"),
        ({"broker_port": 0}, "port"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, change, says):
    """One line with the file and the setting."""
    path = tmp_path / "device.toml"
    path.write_text(render_config(replace(GOOD, **change)))
    with pytest.raises(SettingError, match=says):
        load_config(path)


def test_a_missing_or_foreign_file_is_named(tmp_path):
    """Missing, not TOML, with an unknown setting: each says what to do."""
    with pytest.raises(SettingError, match="terang device adopt"):
        load_config(tmp_path / "none.toml")
    path = tmp_path / "device.toml"
    path.write_text("a = = b")
    with pytest.raises(SettingError, match="cannot be read"):
        load_config(path)
    path.write_text("pol_s = 1\n" + render_config(GOOD))
    with pytest.raises(SettingError, match="pol_s is no setting"):
        load_config(path)


def test_meters_of_two_buses_never_share_a_number():
    """The same address on two buses is two meters."""
    numbers = {BusConfig(number=n, port="", addresses=(1,)).meter(a) for n in range(300) for a in range(1, 248)}
    assert len(numbers) == 300 * 247
