"""The benchmarks run; what they measure is not a test."""

from pathlib import Path

import pytest

from terang.bench.growth import bench_growth
from terang.bench.ingest import measure
from terang.bench.ledger import bench_ledger
from terang.bench.table import Line, render


def test_growth_says_what_a_year_takes() -> None:
    """A short run ends with the year beside its bar."""
    lines = bench_growth(lambda _: None, minutes=120)
    assert lines[-1].bar == 6.0
    assert lines[-1].ratio is not None
    assert 1.0 < lines[-1].ratio < 20.0


def test_the_ledger_s_bench_measures_every_way() -> None:
    """A short run has a figure for each way, and what it restores and audits agrees with itself."""
    lines = bench_ledger(lambda _: None, scale=0.01)
    assert sum(line.bar is not None for line in lines) >= 5
    assert all(line.ratio is None or line.ratio > 0 for line in lines)


@pytest.mark.broker
@pytest.mark.serial
def test_a_run_commits_and_anchors_all(tmp_path: Path, mosquitto_path) -> None:
    """Every message of a run is committed, and with anchoring every record stands on the chain."""
    run = measure(tmp_path / "house", per=2, envelopes=400, rate=2000.0, anchor_s=1)
    assert run.readings == 800
    assert run.anchored_s >= run.committed_s > 0
    assert len(run.latencies_ms) == 400
    assert min(run.latencies_ms) > 0


def test_a_missed_bar_is_shown_as_missed() -> None:
    """Whichever way better is."""
    lines = [Line("rate", "", 0.5, 0.8), Line("wait", "", 3.0, 10.0, True), Line("wait", "", 11.0, 10.0, True)]
    text = render("t", lines)
    assert [line.split()[-1] for line in text.splitlines()[1:]] == ["MISSED", "reached", "MISSED"]
