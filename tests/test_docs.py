"""What the pages say of the code is so: links, names of functions, help texts, lists of pages.

No file tells of a machine it was made on. Each check is a function from a folder to its faults, and is shown to fail on
a made-up folder.
"""

import ast
import importlib.machinery
import importlib.util
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!\!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
IMAGE = re.compile(r"!\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
REGISTRY = re.compile(r"registry\.(?:npmjs|yarnpkg)\.|pythonhosted\.|pypi\.(?:org|python\.org)/simple")
INDEX_LINE = re.compile(r"^\s*(?:--|-i\b|registry\s*=)|\"resolved\":", re.MULTILINE)
BUILD_PATH = re.compile(r"(?<![\w.~-])/(?:(?:root|work|Users)/|home/(?!pi/))")
LOCKS = ("package-lock.json", ".npmrc")


def files(root: Path, pattern: str = "*") -> list[Path]:
    """The files that belong to the project: known to git, or new and not ignored."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return sorted(root / name for name in set(listed) if name and (root / name).is_file() and Path(name).match(pattern))


def text_of(path: Path) -> str:
    """The text of a file, '' for one that is none or not there."""
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, FileNotFoundError):
        return ""


def links(root: Path) -> Iterator[str]:
    """Every relative link leads to a file, and to a heading of it if it names one."""
    for page in files(root, "*.md"):
        text = FENCE.sub("", text_of(page))
        where = page.relative_to(root)
        for target in [match["target"] for pattern in (LINK, IMAGE) for match in pattern.finditer(text)]:
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            path, _, anchor = target.partition("#")
            goal = (page.parent / path).resolve() if path else page
            if not goal.exists():
                yield f"{where}: {target} leads nowhere"
            elif re.fullmatch(r"L\d+(-L\d+)?", anchor):
                yield f"{where}: {target} names a line, which moves; name the function"
            elif anchor and goal.suffix == ".md" and anchor not in anchors(goal):
                yield f"{where}: {target} names no heading of that page"


def anchors(page: Path) -> set[str]:
    """The headings of a page as they stand in a link."""
    headings = re.findall(r"^#+\s+(.*?)\s*$", FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named_functions(root: Path) -> Iterator[str]:
    """Wherever a page links [`module.function`](a file of the source), the file has that function."""
    for page in files(root, "*.md"):
        for match in LINK.finditer(FENCE.sub("", text_of(page))):
            source = (page.parent / match["target"].partition("#")[0]).resolve()
            named = re.fullmatch(r"`([\w.]+)(?:\(\))?`", match["text"])
            if source.suffix != ".py" or not source.exists() or not named or named[1].endswith(".py"):
                continue
            if not has(source, named[1]):
                yield f"{page.relative_to(root)}: {source.name} has no {named[1]}"


def has(source: Path, name: str) -> bool:
    """Whether `name` is the module itself, or ends in something that the file defines."""
    module = source.parent.name if source.stem == "__init__" else source.stem
    parts = name.split(".")
    if parts[-1] == module:
        return True
    scope: list[ast.stmt] = ast.parse(text_of(source)).body
    for part in parts[parts.index(module) + 1 if module in parts else 0 :]:
        found = [node for node in scope if part in defined(node)]
        if not found:
            return False
        scope = getattr(found[0], "body", [])
    return True


def defined(node: ast.stmt) -> set[str]:
    """The names that one statement defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def main_path(root: Path) -> Iterator[str]:
    """ARCHITECTURE.md links the steps of the main path to their functions."""
    linked = {match["target"] for match in LINK.finditer(text_of(root / "ARCHITECTURE.md"))}
    if not any(target.endswith("/pipeline.py") for target in linked):
        yield "ARCHITECTURE.md: no link to the steps of pipeline.py"


def decisions(root: Path) -> Iterator[str]:
    """Every decision page is listed, numbered once and in the form NNNN-title.md."""
    folder = root / "docs" / "decisions"
    listed = {match["target"] for match in LINK.finditer(text_of(folder / "README.md"))}
    pages = [path.name for path in files(root, "docs/decisions/*.md") if path.name != "README.md"]
    for name in pages:
        if not re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", name):
            yield f"docs/decisions/{name}: the name is not NNNN-title.md"
        if name not in listed:
            yield f"docs/decisions/README.md does not list {name}"
        if sum(other[:4] == name[:4] for other in pages) > 1:
            yield f"docs/decisions/{name}: the number is used twice"


def traces(root: Path) -> Iterator[str]:
    """No file names a package registry or a folder of the machine it was made on."""
    for path in files(root):
        text, where = text_of(path), path.relative_to(root)
        for pattern, what in ((REGISTRY, "a registry host"), (BUILD_PATH, "a folder of a build machine")):
            if match := pattern.search(text):
                yield f"{where}:{text.count(chr(10), 0, match.start()) + 1}: {what}"
        is_lock = path.name in LOCKS or path.parent.name == "requirements"
        if is_lock and any(not line.lstrip().startswith("--hash=") for line in index_lines(text)):
            yield f"{where}: a line that says where packages come from"


def index_lines(text: str) -> list[str]:
    """The lines of a lock that look like an index, a link or an option."""
    return [line for line in text.splitlines() if INDEX_LINE.search(line)]


Check = Callable[[Path], Iterator[str]]
CHECKS: tuple[Check, ...] = (links, named_functions, main_path, decisions, traces)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_pages_are_true(check: Check) -> None:
    """The project's own files have no fault under this check."""
    faults = list(check(ROOT))
    assert not faults, "\n" + "\n".join(faults)


SOUND = {
    "ARCHITECTURE.md": "# How\n\n## The main path\n\n[`pipeline.accept`](src/pipeline.py) [up](#how) [d](docs)",
    "README.md": "[a](ARCHITECTURE.md#the-main-path) [`Log.add`](src/log.py) [b](https://a.org)\n```\n[x](y)\n```\n",
    "src/pipeline.py": "async def accept(): ...\n",
    "src/log.py": "class Log:\n    def add(self): ...\n",
    "docs/decisions/README.md": "[one](0001-one.md)",
    "docs/decisions/0001-one.md": "# One",
    "requirements/dev.txt": "# via x\na==1 \\\n    --hash=sha256:00\n",
    "web/package-lock.json": '{"integrity": "sha512-x", "funding": {"url": "https://example.org"}}',
}
BROKEN: list[tuple[Check, str, str, str]] = [
    (links, "README.md", "[a](nowhere.md)", "leads nowhere"),
    (links, "README.md", "![a](nowhere.png)", "leads nowhere"),
    (links, "docs/a.md", "[a](README.md)", "leads nowhere"),
    (links, "README.md", "[a](src/log.py#L3)", "names a line"),
    (links, "README.md", "[a](ARCHITECTURE.md#the-side-path)", "names no heading"),
    (named_functions, "README.md", "[`log.remove`](src/log.py)", "log.py has no log.remove"),
    (named_functions, "README.md", "[`log.Log.remove`](src/log.py)", "has no log.Log.remove"),
    (named_functions, "ARCHITECTURE.md", "[`pipeline.refuse`](src/pipeline.py)", "has no pipeline.refuse"),
    (main_path, "ARCHITECTURE.md", "[`log.add`](src/log.py)", "no link to the steps"),
    (decisions, "docs/decisions/0002-two.md", "# Two", "does not list 0002-two.md"),
    (decisions, "docs/decisions/0001-too.md", "# Two", "used twice"),
    (decisions, "docs/decisions/two.md", "# Two", "not NNNN-title.md"),
    (traces, "requirements/dev.txt", "--index-url " + "https://example.org/simple\na==1", "where packages come from"),
    (traces, "requirements/dev.txt", "--find-links /opt/wheels", "where packages come from"),
    (traces, "web/package-lock.json", '{"resolved": "https://example.org/a.tgz"}', "where packages come from"),
    (traces, "web/.npmrc", "registry=https://example.org", "where packages come from"),
    (traces, "README.md", "see https://registry.npm" + "js.org/a", "README.md:1: a registry host"),
    (traces, "src/log.py", "\nPATH = '/ro" + "ot/data'", "log.py:2: a folder of a build machine"),
    (traces, "src/log.py", "PATH = '/ho" + "me/ani/data'", "a folder of a build machine"),
]


def build(root: Path, changed: dict[str, str]) -> Path:
    """The sound folder with these files changed, as a git repository."""
    for name, text in ({**SOUND, **changed}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_sound_pages_pass(check: Check, tmp_path: Path) -> None:
    """No check finds a fault where there is none."""
    assert list(check(build(tmp_path, {}))) == []


@pytest.mark.parametrize(
    ("check", "name", "text", "says"), BROKEN, ids=[f"{row[0].__name__}-{n}" for n, row in enumerate(BROKEN)]
)
def test_a_false_page_is_named(check: Check, name: str, text: str, says: str, tmp_path: Path) -> None:
    """Each check finds the one fault put in, and says it."""
    faults = list(check(build(tmp_path, {name: text})))
    assert any(says in fault for fault in faults), faults


def test_every_check_is_shown_to_fail() -> None:
    """`BROKEN` has a case for each check."""
    assert {row[0] for row in BROKEN} == set(CHECKS)


def test_help_in_the_docs_is_the_real_help() -> None:
    """docs/cli.md is what scripts/regenerate_docs writes: every command with its own --help."""
    if not (ROOT / "src" / "terang" / "cli" / "__init__.py").exists():
        pytest.skip("there is no command line yet")
    loader = importlib.machinery.SourceFileLoader("regenerate_docs", str(ROOT / "scripts" / "regenerate_docs"))
    spec = importlib.util.spec_from_loader("regenerate_docs", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    assert text_of(ROOT / "docs" / "cli.md") == module.page(), "run .venv/bin/python scripts/regenerate_docs"
