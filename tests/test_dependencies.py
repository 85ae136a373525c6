"""What is imported is declared, what is declared is used, and the locks hold exactly that, each package with hashes."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from sys import stdlib_module_names

import pytest

ROOT = Path(__file__).resolve().parent.parent
HASHES = r"(?:.*\\\n)?(?:\s+--hash=sha256:[0-9a-f]{64}(?: \\)?\n)*"
LINE = re.compile(rf"^([A-Za-z0-9._-]+)(?:\[[\w,-]+\])?==(\S+)({HASHES})", re.MULTILINE)
# Declared though no file imports it, with the reason.
USED_UNSEEN = {
    "pyserial": "pymodbus opens serial ports with it, and does not bring it along",
    "coincurve": "eth-keys takes it by itself, and checks a seal fifty times faster with it",
    "tzdata": "zoneinfo reads it where the machine has no time zones",
}


def normal(name: str) -> str:
    """The one form of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(root: Path) -> dict[str, set[str]]:
    """Group -> names of packages, as pyproject.toml has them; `runtime` is what the product itself needs."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {"runtime": project["project"]["dependencies"], **project["dependency-groups"]}
    name = re.compile(r"[\w.-]+")
    return {group: {normal(name.findall(line)[0]) for line in lines} for group, lines in groups.items()}


def imported(root: Path, may: set[str]) -> set[str]:
    """The packages that the source imports; where several bring the same module, the one that is declared (`may`)."""
    modules: set[str] = set()
    for path in (root / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
    known = packages_distributions()
    names = [[normal(name) for name in known.get(module, [module])] for module in modules - stdlib_module_names]
    return {next((name for name in brings if name in may), brings[0]) for brings in names} - {"terang"}


def locked(lock: Path) -> dict[str, set[str]]:
    """Package -> versions (one a platform) of a lock."""
    versions: dict[str, set[str]] = {}
    for match in LINE.finditer(lock.read_text(encoding="utf-8")):
        versions.setdefault(normal(match[1]), set()).add(match[2])
    return versions


def faults(root: Path) -> Iterator[str]:
    """Everything in which source, pyproject.toml and locks disagree."""
    groups = declared(root)
    seen = imported(root, groups["runtime"])
    for name in sorted(seen - groups["runtime"]):
        yield f"{name} is imported, but pyproject.toml does not declare it"
    for name in sorted(groups["runtime"] - seen - USED_UNSEEN.keys()):
        yield f"{name} is declared, but nothing imports it (USED_UNSEEN, if it is needed all the same)"
    for name in sorted(USED_UNSEEN.keys() & seen):
        yield f"{name} is in USED_UNSEEN, but it is imported"
    runtime, everything = (locked(root / "requirements" / name) for name in ("runtime.txt", "dev.txt"))
    for name in sorted((groups["runtime"] | groups["build"]) - runtime.keys()):
        yield f"requirements/runtime.txt lacks {name} (scripts/lock)"
    for name in sorted(groups["dev"] - everything.keys()):
        yield f"requirements/dev.txt lacks {name} (scripts/lock)"
    for name in sorted(name for name in runtime if runtime[name] != everything.get(name)):
        yield f"the locks have two versions of {name}"
    for lock in sorted((root / "requirements").glob("*.txt")):
        for match in LINE.finditer(lock.read_text(encoding="utf-8")):
            if "--hash=" not in match[3]:
                yield f"requirements/{lock.name}: {match[1]} has no hash"


def test_source_and_locks_agree() -> None:
    """The project's imports, declarations and locks are one."""
    found = list(faults(ROOT))
    assert not found, "\n" + "\n".join(found)


HASH = " \\\n    --hash=sha256:" + "0" * 64 + "\n"
UNSEEN = "".join(f'"{name}", ' for name in USED_UNSEEN)
SOUND = {
    "pyproject.toml": f"""
[project]
dependencies = ["pynacl>=1", {UNSEEN}]
[dependency-groups]
build = []
dev = ["PyTest"]
""",
    "src/terang/a.py": "import json\nfrom nacl import bindings\nfrom terang import values\n",
    "requirements/runtime.txt": "".join(f"{name}==1{HASH}" for name in ("pynacl", *USED_UNSEEN)),
    "requirements/dev.txt": "".join(f"{name}==1{HASH}" for name in ("pynacl", "pytest", *USED_UNSEEN)),
}
BROKEN = [
    ("src/terang/b.py", "import click", "click is imported, but"),
    ("src/terang/b.py", "import no_such_thing", "no-such-thing is imported, but"),
    ("src/terang/a.py", "", "pynacl is declared, but nothing imports it"),
    ("src/terang/b.py", "import coincurve", "coincurve is in USED_UNSEEN, but it is imported"),
    ("requirements/runtime.txt", f"tzdata==1{HASH}", "runtime.txt lacks pynacl"),
    ("requirements/dev.txt", f"pynacl==1{HASH}", "dev.txt lacks pytest"),
    ("requirements/dev.txt", f"pynacl==2{HASH}pytest==1{HASH}", "two versions of pynacl"),
    ("requirements/dev.txt", "pynacl==1\npytest==1 \\\n    # via x\n", "dev.txt: pytest has no hash"),
]


def build(root: Path, changed: dict[str, str]) -> Path:
    """The sound project with these files changed."""
    for name, text in ({**SOUND, **changed}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_a_sound_project_passes(tmp_path: Path) -> None:
    """No fault is found where there is none."""
    assert list(faults(build(tmp_path, {}))) == []


@pytest.mark.parametrize(("name", "text", "says"), BROKEN)
def test_a_disagreement_is_named(name: str, text: str, says: str, tmp_path: Path) -> None:
    """Each disagreement is found and said."""
    found = list(faults(build(tmp_path, {name: text})))
    assert any(says in fault for fault in found), found
