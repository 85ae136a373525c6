"""An audit sees one moment of a store that goes on being written."""

import pytest

from terang.testing import FakeDevice, MiniPlatform


@pytest.fixture
def platform(tmp_path):
    with MiniPlatform(tmp_path) as house:
        yield house


def test_a_reader_that_is_held_sees_one_moment(platform) -> None:
    """What is committed meanwhile is seen only after it was let go."""
    device = FakeDevice(1)
    platform.adopt(device)
    before = platform.log.size()
    platform.log.hold()
    platform.take(device.event("start"))
    assert platform.log.size() == before
    platform.log.let_go()
    assert platform.log.size() == before + 1


def test_two_moments_are_told_apart(platform) -> None:
    """The mark of a moment changes with every record, so that two readers can agree on one."""
    device = FakeDevice(1)
    platform.adopt(device)
    first = platform.log.hold()
    platform.take(device.event("start"))
    assert platform.log.hold() != first
    platform.log.let_go()
