"""How often a password may be tried: per person and address, per address, and per person from strangers' addresses.

Who guesses must not be able to lock somebody else out. So a pair of person and address that has logged in before is
held to its own failures alone: neither a neighbour behind the same router nor a flood of guesses from elsewhere stops
it.
"""

import ipaddress
from collections import OrderedDict, deque
from dataclasses import dataclass

__all__ = ["LoginLimiter", "address_group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """At most `failures` within `window_ms`."""

    failures: int
    window_ms: int


_MINUTE_MS = 60_000
_PAIR = _Limit(failures=5, window_ms=5 * _MINUTE_MS)
_ADDRESS = _Limit(failures=30, window_ms=15 * _MINUTE_MS)
_ACCOUNT = _Limit(failures=60, window_ms=60 * _MINUTE_MS)


def address_group(address: str) -> str:
    """The address itself, or the /64 of an IPv6 address: whoever has one of those has all of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class _Failures:
    """Times of failures by key; at most `size` keys, the one touched longest ago forgotten first."""

    def __init__(self, limit: _Limit, size: int) -> None:
        self._limit = limit
        self._size = size
        self._times: OrderedDict[str, deque[int]] = OrderedDict()

    def wait_ms(self, key: str, now_ms: int) -> int:
        times = self._times.get(key)
        if times is None:
            return 0
        while times and times[0] <= now_ms - self._limit.window_ms:
            times.popleft()
        if not times:
            del self._times[key]
            return 0
        if len(times) < self._limit.failures:
            return 0
        return times[0] + self._limit.window_ms - now_ms

    def add(self, key: str, now_ms: int) -> None:
        times = self._times.setdefault(key, deque(maxlen=self._limit.failures))
        times.append(now_ms)
        self._times.move_to_end(key)
        while len(self._times) > self._size:
            self._times.popitem(last=False)

    def clear(self, key: str) -> None:
        self._times.pop(key, None)

    def __len__(self) -> int:
        return len(self._times)


class LoginLimiter:
    """Counts failed logins; `size` bounds each of its tables. Times are of a clock that cannot be set back [ms]."""

    def __init__(self, *, size: int = 10_000) -> None:
        self._size = size
        self._by_pair = _Failures(_PAIR, size)
        self._by_address = _Failures(_ADDRESS, size)
        self._by_account = _Failures(_ACCOUNT, size)
        self._welcome: OrderedDict[str, None] = OrderedDict()

    def begin(self, account: str, address: str, now_ms: int) -> int:
        """Milliseconds to wait, 0 if the attempt may go on; it counts as failed until `succeeded` says otherwise.

        Counting first keeps a burst of attempts at the same moment from passing together.
        """
        group, pair = self._keys(account, address)
        wait = self._by_pair.wait_ms(pair, now_ms)
        if pair not in self._welcome:
            wait = max(wait, self._by_address.wait_ms(group, now_ms), self._by_account.wait_ms(account, now_ms))
        if wait:
            return wait
        self._by_pair.add(pair, now_ms)
        if pair not in self._welcome:
            self._by_address.add(group, now_ms)
            self._by_account.add(account, now_ms)
        return 0

    def succeeded(self, account: str, address: str) -> None:
        """The password was right: forget the pair's failures and let it pass the common limits from now on."""
        _, pair = self._keys(account, address)
        self._by_pair.clear(pair)
        self._welcome[pair] = None
        self._welcome.move_to_end(pair)
        while len(self._welcome) > self._size:
            self._welcome.popitem(last=False)

    def __len__(self) -> int:
        return len(self._by_pair) + len(self._by_address) + len(self._by_account) + len(self._welcome)

    @staticmethod
    def _keys(account: str, address: str) -> tuple[str, str]:
        group = address_group(address)
        return group, f"{group} {account}"
