"""`terang bench growth`: what six rooms cost on disk in a year, with the defaults of a house.

A clock that is told the time lets minutes pass in milliseconds; everything else is the product's own: envelopes of one
reading every ten seconds, signed, accepted, cut once a minute, sealed on the embedded chain, pruned, and their bytes
let go of after they were read back from the chain. Two points on the way give the slope, the slope the year.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from terang.bench.load import make_envelopes
from terang.bench.still_house import StillHouse, open_still_house
from terang.bench.table import Line
from terang.ledger.anchoring import Anchorer
from terang.log_writer import LogWriter
from terang.pipeline import Incoming
from terang.serve.ledger import read_back
from terang.settings import Settings
from terang.values.errors import BatchUnfaithful, TerangError

__all__ = ["bench_growth"]

_ROOMS = 6
_RECORD_S = 10
_MINUTE_MS = 60_000
_YEAR_MINUTES = 365 * 24 * 60
_BAR_GB = 6.0
_HELD_MINUTES = 30  # how long the bench holds signed bytes; the house's days are added below
_GB = 1e9
_Say = Callable[[str], None]


class _Disk(NamedTuple):
    minutes: int
    store: int
    chain: int


def bench_growth(say: _Say, *, minutes: int) -> list[Line]:
    """Measure over so many simulated minutes, at least 120."""
    minutes = max(minutes, 120)
    with tempfile.TemporaryDirectory(prefix="terang-bench-") as name:
        house, anchorer = open_still_house(Path(name), rooms=_ROOMS)
        middle = _Disk(0, 0, 0)
        for minute in range(minutes):
            _live_a_minute(house, anchorer)
            if minute == minutes // 2:
                middle = _measure(Path(name), house, minute)
            if minute % 60 == 0:
                say(f"minute {minute} of {minutes}")
        end = _measure(Path(name), house, minutes - 1)
        held = _held_bytes(house)
        house.chain.close()
        house.log.close()
        house.writer.close()
    return _lines(middle, end, held, minutes)


def _lines(middle: _Disk, end: _Disk, held: float, minutes: int) -> list[Line]:
    span = end.minutes - middle.minutes
    store = (end.store - middle.store) / span
    chain = (end.chain - middle.chain) / span
    days = Settings(data=Path()).keep_envelopes_days
    extra = held * days * 24 * 60
    year = (store + chain) * _YEAR_MINUTES + extra
    readings = _ROOMS * 60 // _RECORD_S
    return [
        Line("simulated minutes; readings a minute, one an envelope", f"{minutes}; {readings}"),
        Line("store, bytes a reading", f"{store / readings:,.0f}"),
        Line("chain, bytes a block of one minute", f"{chain:,.0f}"),
        Line("store in a year, GB", f"{store * _YEAR_MINUTES / _GB:.2f}"),
        Line(f"signed bytes held for {days} days, GB", f"{extra / _GB:.2f}"),
        Line("chain in a year, GB", f"{chain * _YEAR_MINUTES / _GB:.2f}"),
        Line("store and chain in a year, GB", f"{year / _GB:.2f}", year / _GB, _BAR_GB, less_is_better=True),
    ]


def _live_a_minute(house: StillHouse, anchorer: Anchorer) -> None:
    begin_ms = house.clock.now_ms()
    envelopes = [make_envelopes(device, 60 // _RECORD_S, 1, begin_ms, _RECORD_S * 1000) for device in house.devices]
    for moment in zip(*envelopes, strict=True):
        house.clock.advance(_RECORD_S * 1000)
        house.pipeline.accept([Incoming(data, "", house.clock.now_ms()) for data in moment])
    anchorer.cut()
    anchorer.send()
    house.chain.seal()
    if anchorer.settle():
        raise TerangError("the bench's chain did not take a batch")
    while house.chain.tidy(1000):
        pass
    for old in house.log.releasable(house.clock.now_ms() - _HELD_MINUTES * _MINUTE_MS):
        if not read_back(house.chain, old, house.log.leaves(old.old_size, old.new_size)):
            raise BatchUnfaithful("the chain's copy of a batch differs from the store")
        LogWriter(house.pipeline).release(old.old_size, old.new_size)


def _held_bytes(house: StillHouse) -> float:
    """Bytes a minute that signed envelopes, batches and transactions take in the store while it holds them."""
    row = house.writer.rows("SELECT sum(length(data)) FROM held")[0][0] or 0
    batches = house.writer.rows("SELECT sum(length(data) + length(raw_transaction)), count(*) FROM batch_held")[0]
    return float((row + (batches[0] or 0)) / max(1, batches[1]))


def _measure(directory: Path, house: StillHouse, minute: int) -> _Disk:
    house.writer.checkpoint()
    files = [path for path in (directory / "chain").rglob("*") if path.is_file()]
    # a journal is written over and over and does not grow with time
    chain = sum(path.stat().st_size for path in files if not path.name.endswith(("-wal", "-shm")))
    store = (directory / "store.sqlite").stat().st_size
    free = house.writer.rows("PRAGMA freelist_count")[0][0] * house.writer.rows("PRAGMA page_size")[0][0]
    return _Disk(minute, store - free, chain)
