"""`terang bench ingest`: from a device's signature to the commit and to the block, through a real mosquitto."""

import bisect
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from terang.bench.baseline import sqlite_rows_per_s, verify_per_s
from terang.bench.house import House, running_house
from terang.bench.load import Publisher, make_envelopes
from terang.bench.table import Line
from terang.store.connection import open_for_reading
from terang.values.clock import SystemClock

__all__ = ["Run", "bench_ingest", "measure"]

_DEVICES = 20
_LIMIT_S = 300.0
_NEVER_S = 100_000
_WARM_UP = 100
_Say = Callable[[str], None]


class Run(NamedTuple):
    """One run: how many readings, how long until the last was committed and anchored, and each message's latency."""

    readings: int
    committed_s: float
    anchored_s: float
    latencies_ms: list[float]

    @property
    def rate(self) -> float:
        """Readings committed in a second."""
        return self.readings / self.committed_s

    @property
    def anchored_rate(self) -> float:
        """Readings anchored in a second, timed until the last is."""
        return self.readings / self.anchored_s


def bench_ingest(say: _Say, *, scale: float = 1.0) -> list[Line]:
    """Measure; `scale` makes every run shorter or longer."""
    with tempfile.TemporaryDirectory(prefix="terang-bench-") as name:
        base = Path(name)
        say("bare libsodium and bare SQLite")
        verify, bare = verify_per_s(), sqlite_rows_per_s(base)
        say("one reading a signature")
        single = measure(base / "1", per=1, envelopes=int(60_000 * scale), rate=None, anchor_s=_NEVER_S)
        say("sixty readings a signature")
        sixty = measure(base / "60", per=60, envelopes=int(40_000 * scale), rate=None, anchor_s=_NEVER_S)
        say("half load")
        half = measure(base / "half", per=1, envelopes=int(60_000 * scale), rate=single.rate / 2, anchor_s=_NEVER_S)
        say("with anchoring, 20,000 readings a second offered")
        offered = measure(base / "offered", per=60, envelopes=int(10_000 * scale), rate=20_000 / 60, anchor_s=1)
        say("with anchoring, as fast as it goes")
        flooded = measure(base / "anchored", per=60, envelopes=int(20_000 * scale), rate=None, anchor_s=1)
        say("six rooms, a reading a second, anchored every second")
        visible = _visible(base / "visible", seconds=int(60 * min(scale, 1.0)))
    return [
        Line("libsodium, one core, signatures/s", f"{verify:,.0f}"),
        Line("bare SQLite, batches of 5,000, rows/s", f"{bare:,.0f}"),
        Line("1 reading a signature, readings/s; to libsodium", f"{single.rate:,.0f}", single.rate / verify, 0.8),
        Line("60 readings a signature, readings/s; to bare SQLite", f"{sixty.rate:,.0f}", sixty.rate / bare, 0.5),
        Line("60 readings a signature to 1 a signature", "", sixty.rate / single.rate, 10.0),
        Line("half load (1 a signature), to commit, p50 ms", "", _percentile(half.latencies_ms, 50), 10.0, True),
        Line("half load (1 a signature), to commit, p99 ms", "", _percentile(half.latencies_ms, 99), 50.0, True),
        Line(
            "anchored readings/s at 20,000/s offered (60 a signature); to offered",
            f"{offered.anchored_rate:,.0f}",
            offered.anchored_rate / 20_000,
            0.8,
        ),
        Line(
            "anchored readings/s at the maximum (60 a signature); to that without anchoring",
            f"{flooded.anchored_rate:,.0f}",
            flooded.anchored_rate / sixty.rate,
            0.4,
        ),
        Line("measured to block hash visible (anchor_s 1), p50 s", "", _percentile(visible, 50), 3.0, True),
        Line("measured to block hash visible (anchor_s 1), p99 s", "", _percentile(visible, 99), 3.0, True),
    ]


def measure(directory: Path, *, per: int, envelopes: int, rate: float | None, anchor_s: int) -> Run:
    """Publish so many envelopes of `per` readings at `rate` messages a second (None: as fast as it goes)."""
    with running_house(directory, devices=_DEVICES, anchor_s=anchor_s) as house:
        each = envelopes // _DEVICES
        begin_ms = SystemClock().now_ms() - (each + _WARM_UP) * per * 1000
        _warm_up(house, per, begin_ms)
        made = [make_envelopes(device, each, per, begin_ms + _WARM_UP * per * 1000) for device in house.devices]
        base = house.log.size()
        publisher = Publisher(house.settings.broker_port, house.devices, made, rate)
        publisher.go()
        watch = _watch(house, base, each * _DEVICES, poll_s=0.001 if rate else 0.005)
        published = publisher.done()
        committed_s = watch[-1][0] - published.begun_s
        latencies = _latencies(house, base, published.times_s, watch) if published.times_s else []
        anchored_s = committed_s
        if anchor_s != _NEVER_S:
            target = base + each * _DEVICES
            end_s = house.wait("the last anchor", lambda: house.log.anchored_size() >= target, _LIMIT_S)
            anchored_s = end_s - published.begun_s
        return Run(each * _DEVICES * per, committed_s, anchored_s, latencies)


def _warm_up(house: House, per: int, begin_ms: int) -> None:
    """Let every process load what it works with, as one that runs for months has long done."""
    made = [make_envelopes(device, _WARM_UP, per, begin_ms) for device in house.devices]
    base = house.log.size()
    publisher = Publisher(house.settings.broker_port, house.devices, made, None)
    publisher.go()
    _watch(house, base, _WARM_UP * _DEVICES, poll_s=0.01)
    publisher.done()
    time.sleep(2.0)  # a second process for signatures may just be starting


def _watch(house: House, base: int, count: int, poll_s: float) -> list[tuple[float, int]]:
    """(time, size of the log) whenever it was seen to have grown, until it has `count` more than `base`."""
    seen: list[tuple[float, int]] = []

    def grown() -> bool:
        size = house.log.size()
        if not seen or size != seen[-1][1]:
            seen.append((time.monotonic(), size))
        return size >= base + count

    house.wait("the last commit", grown, _LIMIT_S, poll_s)
    return seen


def _latencies(house: House, base: int, times_s: list[float], watch: list[tuple[float, int]]) -> list[float]:
    """Publish to commit [ms] of every message, by the order in which each device sent and the log took them."""
    db = open_for_reading(house.settings.store_path)
    rows = db.execute(
        "SELECT r.position, d.id, r.sequence FROM record r JOIN epoch e ON e.id = r.epoch_id"
        " JOIN device d ON d.id = e.device_id WHERE r.position >= ?",
        (base,),
    ).fetchall()
    db.close()
    order = sorted({row[1] for row in rows})
    sizes = [size for _, size in watch]
    latencies = []
    for position, device, sequence in rows:
        sent_s = times_s[(sequence - _WARM_UP) * len(order) + order.index(device)]
        seen_s = watch[bisect.bisect_right(sizes, position)][0]
        latencies.append((seen_s - sent_s) * 1000)
    return latencies


def _visible(directory: Path, seconds: int) -> list[float]:
    """From the moment of measuring to the block hash in the store [s], for every reading of six rooms."""
    with running_house(directory, devices=6, anchor_s=1) as house:
        clock = SystemClock()
        begin_ms = clock.now_ms() + 1500
        made = [make_envelopes(device, seconds, 1, begin_ms) for device in house.devices]
        base = house.log.size()
        publisher = Publisher(house.settings.broker_port, house.devices, made, 6.0)
        house.wait("the first second", lambda: clock.now_ms() >= begin_ms + 1000, 10)  # an envelope closes after 1 s
        publisher.go()
        seen: list[tuple[int, int]] = []
        target = base + 6 * seconds

        def grown() -> bool:
            size = house.log.anchored_size()
            if not seen or size != seen[-1][1]:
                seen.append((clock.now_ms(), size))
            return size >= target

        house.wait("the last anchor", grown, seconds + 30, 0.01)
        publisher.done()
        return _ages(house, base, seen)


def _ages(house: House, base: int, seen: list[tuple[int, int]]) -> list[float]:
    db = open_for_reading(house.settings.store_path)
    rows = db.execute("SELECT position, first_ms FROM reading WHERE position >= ?", (base,)).fetchall()
    db.close()
    sizes = [size for _, size in seen]
    return [(seen[bisect.bisect_right(sizes, position)][0] - first_ms) / 1000 for position, first_ms in rows]


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
