"""Runs ruff, mypy and the tests, each with its time, and ends with one line in pytest's form over all of them.

`run_tests.py [--only-check] [ARGUMENTS FOR PYTEST]`; with TERANG_SOAK=1 in the environment only the tests, at full
counts. Every phase runs, whatever came before; the exit code is 1 if any of them failed.
"""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_TESTS_COLLECTED = 5
SOAK_TIMEOUT_S = 4 * 3600


def main(arguments: list[str]) -> int:
    """Run the phases; 0 if all passed."""
    soak = os.environ.get("TERANG_SOAK") == "1"
    only_check = "--only-check" in arguments
    pytest_arguments = [argument for argument in arguments if argument != "--only-check"]
    began = time.monotonic()
    failed, counts, times = [], Counter[str](), []
    if not only_check:  # takes minutes where it was never built; the tests that need it wait for it
        subprocess.Popen([ROOT / "scripts" / "geth.sh"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as scratch:
        for name, command in phases(soak, only_check, pytest_arguments, Path(scratch)).items():
            print(f"\n--- {name}: {' '.join(command[2:])}", flush=True)
            phase_began = time.monotonic()
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
            times.append(f"{name} {time.monotonic() - phase_began:.1f} s")
            # Few tests must run alone, and a selection may leave none for one of the two phases.
            if code not in (0, NO_TESTS_COLLECTED if "tests" in name else 0):
                failed.append(name)
        for report in Path(scratch).glob("*.xml"):
            counts += counted(report)
    print(f"\ntime: {', '.join(times)}")
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    if not only_check:
        print(summary(counts, time.monotonic() - began))
        if not counts:
            failed.append("no test ran")
    return 1 if failed else 0


def phases(soak: bool, only_check: bool, arguments: list[str], scratch: Path) -> dict[str, list[str]]:  # noqa: FBT001
    """What to run, in order, by name."""
    python = [sys.executable, "-m"]
    checks = {"ruff": [*python, "ruff", "check"], "mypy": [*python, "mypy"]}
    if only_check:
        return checks
    pytest = [*python, "pytest", *([f"--timeout={SOAK_TIMEOUT_S}"] if soak else []), *arguments]
    tests = {
        "tests": [*pytest, "-n", "2", "-m", "not serial", f"--junitxml={scratch}/side-by-side.xml"],
        "tests that run alone": [*pytest, "-m", "serial", f"--junitxml={scratch}/alone.xml"],
    }
    return tests if soak else checks | tests


def counted(report: Path) -> Counter[str]:
    """How many tests had which outcome, from a JUnit report."""
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 pytest wrote it a moment ago
    counts = Counter[str]()
    for suite in suites:
        of = {kind: int(suite.get(kind, "0")) for kind in ("tests", "failures", "errors", "skipped")}
        counts["failed"] += of["failures"]
        counts["errors"] += of["errors"]
        counts["skipped"] += of["skipped"]
        counts["passed"] += of["tests"] - of["failures"] - of["errors"] - of["skipped"]
    return +counts


def summary(counts: Counter[str], seconds: float) -> str:
    """`==== 2 failed, 40 passed, 1 skipped in 9.87s ====`."""
    parts = [f"{counts[kind]} {kind}" for kind in ("failed", "passed", "skipped", "errors") if counts[kind]]
    return f" {', '.join(parts) or 'no tests ran'} in {seconds:.2f}s ".center(80, "=")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
