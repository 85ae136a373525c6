"""What every test may ask for: counts of two sizes, the programs of the machine, a loud word on what was left out."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import HealthCheck, settings

SOAK = os.environ.get("TERANG_SOAK") == "1"
MISSING = "missing part: "
ROOT = Path(__file__).resolve().parent.parent

# A shared machine may be slow at any moment: that is not a failure of the property under test.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", patient, derandomize=True, database=None, max_examples=100)
settings.register_profile("soak", patient, derandomize=False, print_blob=True, max_examples=2_000)
settings.load_profile("soak" if SOAK else "ci")

# A marker whose tests need something that nobody can install: the variable that says where it is.
NAMED_BY = {"postgres": "TERANG_POSTGRES_URL", "hardware": "TERANG_HARDWARE"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what this run cannot or need not do; the summary at the end says so."""
    for item in items:
        for marker, variable in NAMED_BY.items():
            if item.get_closest_marker(marker) and not os.environ.get(variable):
                item.add_marker(pytest.mark.skip(reason=f"{MISSING}{marker} (set {variable})"))
        if item.get_closest_marker("soak") and not SOAK:
            item.add_marker(pytest.mark.skip(reason="only in make soak"))


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`soak(full, reduced)` is the count that this run goes through: `full` in `make soak`, else `reduced`."""

    def count(full: int, reduced: int) -> int:
        n = full if SOAK else reduced
        print(f"n={n}")
        request.node.user_properties.append(("soak_n", n))
        return n

    return count


def _program(*names: str, remedy: str) -> Path:
    for name in names:
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if found:
            return Path(found)
    pytest.skip(f"{MISSING}{names[0]} ({remedy})")


@pytest.fixture(scope="session")
def mosquitto_path() -> Path:
    """The mosquitto program; a test starts its own on a free loopback port, never the machine's service."""
    return _program("mosquitto", remedy="apt-get install mosquitto")


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """A Chromium to be driven by playwright (`executable_path`)."""
    return _program("chromium", "chromium-browser", "google-chrome", remedy="apt-get install chromium")


@pytest.fixture(scope="session")
def node_path() -> Path:
    """A Node.js: the machine's own, or the one that set-up put beside Python."""
    beside_python = ROOT / ".venv" / "bin" / "node"
    if not shutil.which("node") and beside_python.exists():
        return beside_python
    return _program("node", remedy="make setup")


@pytest.fixture(scope="session")
def geth_path() -> Path:
    """geth 1.13.15, built once for this machine; waits where it is being built already."""
    done = subprocess.run([ROOT / "scripts" / "geth.sh"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{MISSING}geth 1.13.15 (scripts/geth.sh builds it where Go modules can be reached)")
    return Path(done.stdout.strip().splitlines()[-1])


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say at the end what was counted how often, and what was not tested for want of a part."""
    _summarise_counts(terminalreporter)
    _summarise_missing(terminalreporter)


def _summarise_counts(terminal: TerminalReporter) -> None:
    rows = [
        (report.nodeid, value, report.duration, outcome)
        for outcome in ("passed", "failed")
        for report in terminal.stats.get(outcome, [])
        if report.when == "call"
        for name, value in report.user_properties
        if name == "soak_n"
    ]
    if not rows:
        return
    terminal.write_sep("=", f"counts ({'full: make soak' if SOAK else 'reduced: make soak runs the full ones'})")
    for nodeid, n, seconds, outcome in sorted(rows):
        terminal.write_line(f"n={n:<11,} {seconds:8.2f} s  {outcome:<6}  {nodeid}")


def _summarise_missing(terminal: TerminalReporter) -> None:
    left_out: dict[str, list[str]] = {}
    for report in terminal.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith(MISSING):
            left_out.setdefault(reason.removeprefix(MISSING), []).append(report.nodeid)
    if not left_out:
        return
    terminal.write_sep("!", "NOT TESTED, because a part is missing", red=True, bold=True)
    for part, nodeids in sorted(left_out.items()):
        terminal.write_line(f"{part}: {len(nodeids)} test(s)", yellow=True)
        for nodeid in sorted(nodeids):
            terminal.write_line(f"    {nodeid}")
