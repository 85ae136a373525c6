"""The counting of failed logins."""

import pytest

from terang.web.limits import LoginLimiter, address_group

MINUTE_MS = 60_000


def fail(limiter: LoginLimiter, account: str, address: str, times: int, now_ms: int = 0) -> list[int]:
    return [limiter.begin(account, address, now_ms) for _ in range(times)]


def test_a_pair_has_five_tries():
    """The sixth failure within five minutes waits for the first to be five minutes old."""
    limiter = LoginLimiter()
    assert fail(limiter, "a", "192.0.2.1", 6) == [0] * 5 + [5 * MINUTE_MS]
    assert limiter.begin("a", "192.0.2.1", 5 * MINUTE_MS) == 0


def test_an_address_cannot_try_many_names():
    """Thirty failures over any names make the address wait."""
    limiter = LoginLimiter()
    waits = [limiter.begin(f"name{n}", "192.0.2.1", 0) for n in range(31)]
    assert waits == [0] * 30 + [15 * MINUTE_MS]


def test_a_name_cannot_be_tried_from_many_addresses():
    """Sixty failures on one name from all over make strangers wait."""
    limiter = LoginLimiter()
    waits = [limiter.begin("a", f"192.0.2.{n}", 0) for n in range(61)]
    assert waits == [0] * 60 + [60 * MINUTE_MS]


def test_who_has_come_in_before_is_not_locked_out():
    """Neither a flood on one's name nor a guesser behind one's own router keeps out a known pair."""
    limiter = LoginLimiter()
    assert limiter.begin("a", "192.0.2.1", 0) == 0
    limiter.succeeded("a", "192.0.2.1")
    for n in range(100):
        limiter.begin("a", f"198.51.100.{n}", 0)
        limiter.begin(f"other{n}", "192.0.2.1", 0)
    assert limiter.begin("a", "198.51.100.200", 0) > 0
    assert limiter.begin("b", "192.0.2.1", 0) > 0
    assert limiter.begin("a", "192.0.2.1", 0) == 0


def test_a_known_pair_is_still_held_to_its_own_failures():
    """A thief at a known address has five tries as well."""
    limiter = LoginLimiter()
    limiter.begin("a", "192.0.2.1", 0)
    limiter.succeeded("a", "192.0.2.1")
    assert fail(limiter, "a", "192.0.2.1", 6)[-1] > 0


def test_memory_is_bounded():
    """A million names and addresses cost no more than the tables were given."""
    limiter = LoginLimiter(size=50)
    for n in range(5_000):
        limiter.begin(f"name{n}", f"2001:db8:{n:x}::1", n)
        limiter.succeeded(f"name{n}", f"2001:db8:{n:x}::1")
        limiter.begin(f"other{n}", f"2001:db8:{n:x}::2", n)
    assert len(limiter) <= 4 * 50


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("not an address", "unknown"),
    ],
)
def test_an_ipv6_network_is_one_address(address, group):
    """Whoever has one address of a /64 has all of them."""
    assert address_group(address) == group
