"""The house rules that can be read from the source: arrows, names, sizes, and what every kit brings along.

Each rule is a function from a house to its faults, one sentence each. `BROKEN` shows for each rule a house that
breaks it.
"""

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

STAGES = ("accounts", "decide", "ingest", "ledger", "notify", "store", "verify")
# The main path and what it is made of; each may import those before it.
MAIN_PATH = ("world", "commit", "timeline", "statements", "acts", "commands", "pipeline", "log_writer")
# What the processes of a house are put together from; and what whoever shows or measures the whole may use.
SERVING = (
    *("values", "kit", "reader", "page", *STAGES, "web", *MAIN_PATH),
    *("settings", "keyring", "kits_installed"),
)
BELOW_ASSEMBLY = (*SERVING, "studies", "kits", "edge", "delivery", "simulated")
# Who may import whom. A part may import itself; a kit only itself, never another kit.
ARROWS: dict[str, tuple[str, ...]] = {
    "terang": (),
    "values": (),
    "kit": ("values",),
    "reader": ("values", "kit"),
    "page": ("values", "kit", "reader"),
    **dict.fromkeys(STAGES, ("values", "kit", "reader")),
    "studies": ("values", "kit"),
    "kits": ("values", "kit", "reader", "page", "studies"),
    "settings": ("values",),
    "keyring": ("values",),
    "kits_installed": ("values", "kit", "page"),
    "delivery": (),
    "edge": ("values", "kit", "kits"),
    "web": ("values", "kit", "reader", "page"),
    **{part: ("values", "kit", *STAGES, *MAIN_PATH[:n]) for n, part in enumerate(MAIN_PATH)},
    "serve": SERVING,
    "restore": ("values", "kit", *STAGES, *MAIN_PATH),
    "backup": ("values", "kit", "reader", "settings", *STAGES, *MAIN_PATH),
    "audit": ("values", "kit", "reader", *STAGES, *MAIN_PATH),
    "testing": (*BELOW_ASSEMBLY, "serve", "audit"),
    "app": (*SERVING, "serve"),
    "replay": ("values",),
    "simulated": ("values", "edge", "kits", "serve"),
    "demo": (*BELOW_ASSEMBLY, "serve", "app"),
    "bench": (*BELOW_ASSEMBLY, "serve", "app", "demo", "audit", "restore"),
    "cli": (*BELOW_ASSEMBLY, "serve", "app", "audit", "replay", "restore", "backup", "demo", "bench"),
    "__main__": ("cli",),
}
# A library that is one part's own business: whoever else wants it states a Protocol.
OWNED_LIBRARIES = {
    "alembic": ("store",),
    "sqlalchemy": ("store",),
    "eth": ("ledger",),
    "litestar": ("web",),
    "click": ("cli",),
    "boa": (),
    "cbor2": (),
    "pytest": (),
    "unittest": (),
    "vyper": (),
}
IMPORTING_CALLS = {"__import__", "import_module", "importlib.import_module"}
NAMES_THAT_SAY_NOTHING = {
    *("base", "common", "const", "consts", "constants", "helper", "helpers"),
    *("manager", "managers", "misc", "util", "utils"),
}
KIT_FILES = {"__init__", "model", "rules", "device", "service", "simulator", "pages"}
KIT_FOLDERS = {"adapters", "templates", "texts"}
PURE_KIT_FILES = {"model", "rules"}
IMPURE_LIBRARIES = {
    *("asyncio", "ctypes", "datetime", "fcntl", "http", "importlib", "io", "multiprocessing", "os", "pathlib"),
    *("random", "secrets", "select", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile"),
    *("termios", "threading", "time", "urllib"),
    *("alembic", "amqtt", "click", "eth", "gmqtt", "granian", "httpx", "litestar", "paho", "pymodbus", "requests"),
    *("serial", "sqlalchemy", "uvloop", "web3"),
}
# What every kit answers in quality.toml, and the file that must exist before it may say "done".
QUALITY_RULES: dict[str, tuple[str, ...]] = {
    "readme": ("README.md",),
    "model": ("model.py",),
    "rules": ("rules.py",),
    "shell": ("device.py", "service.py"),
    "simulator": ("simulator.py",),
    "pages": ("pages.py",),
    "recorded_reality": (),
    "limits_declared": (),
    "property_tests": (),
    "both_languages": (),
    "tried_on_hardware": (),
}
# Alembic writes these once, one a change of the schema, and reads fixed names from them: no sizes, no __all__.
MIGRATIONS = "src/terang/store/migrations/"
FUNCTION_LINES, FILE_LINES = 70, 600
SHORTER_FILES = {"src/terang/pipeline.py": 200}


@dataclass(frozen=True)
class Allowances:
    """Exceptions, each with the reason why it must be one."""

    local_imports: dict[str, str] = field(default_factory=dict)  # "terang.web.app -> sentry_sdk"
    long_files: dict[str, str] = field(default_factory=dict)  # "src/terang/ledger/chain.py"
    long_functions: dict[str, str] = field(default_factory=dict)  # "terang.ledger.chain.seal"


NO_EXCEPTIONS = Allowances()
ALLOWED = Allowances(
    local_imports={
        "terang.cli -> an unknown module": "every child process passes through cli and loads only what it works with",
        "terang.serve.launch -> an unknown module": "the parent names what only the child loads",
        "terang.store.writer -> terang.store.migrate": "alembic is large, and needed once a release",
    },
)


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: str
    source: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """The part of the house it belongs to."""
        return part_of(self.name)


@dataclass(frozen=True)
class House:
    """All that the rules look at."""

    root: Path
    modules: dict[str, Module]
    allowed: Allowances


@dataclass(frozen=True)
class Import:
    """One imported name, resolved to a module."""

    line: int
    target: str
    in_function: bool


def load(root: Path, allowed: Allowances = NO_EXCEPTIONS) -> House:
    """Read every module of a house."""
    modules = {}
    for path in sorted((root / "src" / "terang").rglob("*.py")):
        relative = path.relative_to(root / "src").with_suffix("")
        parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
        source = path.read_text(encoding="utf-8")
        name = ".".join(parts)
        modules[name] = Module(name, path.relative_to(root).as_posix(), source, ast.parse(source, str(path)))
    return House(root, modules, allowed)


def part_of(name: str) -> str:
    """`terang.store.sqlite` -> `store`; `terang.kits.meter.model` -> `kits`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def kit_of(name: str) -> str:
    """`terang.kits.meter.model` -> `meter`, '' for what is no kit."""
    parts = name.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == "kits" else ""


def imports_of(module: Module, house: House) -> Iterator[Import]:
    """Every import of the module, by statement or by function, wherever it stands."""
    inside = {
        id(inner)
        for outer in ast.walk(module.tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(module.tree):
        for target in _targets(node, house):
            yield Import(node.lineno, target, id(node) in inside)  # type: ignore[attr-defined]


def _targets(node: ast.AST, house: House) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        for alias in node.names:
            longer = f"{node.module}.{alias.name}"
            is_module = longer in house.modules or (node.module == "terang" and part_of(longer) in ARROWS)
            yield longer if is_module else node.module
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in IMPORTING_CALLS:
        first = node.args[0] if node.args else None
        yield first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else "an unknown module"


def arrows(house: House) -> Iterator[str]:
    """Imports follow the table of arrows."""
    for module in house.modules.values():
        if module.part not in ARROWS:
            yield f"{module.path}: {module.part} is no part of the house; ARROWS must say what it may import"
            continue
        for item in imports_of(module, house):
            if item.target.split(".")[0] != "terang" or item.target == "terang":
                continue
            other = part_of(item.target)
            if other == module.part:
                ours, theirs = kit_of(module.name), kit_of(item.target)
                if theirs and ours != theirs:
                    yield f"{module.path}:{item.line}: kit {ours or '(none)'} imports kit {theirs}"
            elif other not in ARROWS[module.part]:
                yield f"{module.path}:{item.line}: {module.part} must not import {item.target}"


def relative_imports(house: House) -> Iterator[str]:
    """Imports are absolute."""
    for module in house.modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                yield f"{module.path}:{node.lineno}: relative import"


def owned_libraries(house: House) -> Iterator[str]:
    """A library that is one part's business is imported there only."""
    for module in house.modules.values():
        for item in imports_of(module, house):
            owners = OWNED_LIBRARIES.get(item.target.split(".")[0])
            if owners is not None and module.part not in owners:
                yield f"{module.path}:{item.line}: {item.target} belongs to {' and '.join(owners) or 'the tests'}"


def local_imports(house: House) -> Iterator[str]:
    """Imports stand at the top of the file, where they are seen."""
    for module in house.modules.values():
        for item in imports_of(module, house):
            key = f"{module.name} -> {item.target}"
            if item.in_function and key not in house.allowed.local_imports:
                yield f"{module.path}:{item.line}: import inside a function: {key}"


def names(house: House) -> Iterator[str]:
    """A module's name says what is in it."""
    for module in house.modules.values():
        empty = NAMES_THAT_SAY_NOTHING & {part.strip("_") for part in module.name.split(".")}
        if empty:
            yield f"{module.path}: the name {empty.pop()} says nothing"


def function_sizes(house: House) -> Iterator[str]:
    """A function has at most 70 lines of code; docstring, comments and empty lines are free."""
    for module in house.modules.values():
        code = code_lines(module)
        for name, node in functions(module.tree, module.name):
            lines = sum(node.lineno <= line <= (node.end_lineno or 0) for line in code)
            free = name in house.allowed.long_functions or module.path.startswith(MIGRATIONS)
            if lines > FUNCTION_LINES and not free:
                yield f"{module.path}:{node.lineno}: {name} has {lines} lines of code, more than {FUNCTION_LINES}"


def functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """(dotted name, node) of every function, methods and inner ones included."""
    for child in ast.iter_child_nodes(node):
        name = prefix
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{prefix}.{child.name}"
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield name, child
        yield from functions(child, name)


def code_lines(module: Module) -> set[int]:
    """The numbers of the lines that hold code: not empty, not only comment, not docstring."""
    free = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(module.source).readline):
        if token.type not in free:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(module.tree):
        holds = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if holds and ast.get_docstring(node, clean=False) is not None:  # type: ignore[arg-type]
            text = node.body[0]  # type: ignore[attr-defined]
            lines -= set(range(text.lineno, text.end_lineno + 1))
    return lines


def file_sizes(house: House) -> Iterator[str]:
    """A file has at most 600 lines, the main path at most 200."""
    tests = (house.root / "tests").rglob("*.py")
    sizes = {path.relative_to(house.root).as_posix(): path.read_text(encoding="utf-8").count("\n") for path in tests}
    sizes |= {module.path: module.source.count("\n") for module in house.modules.values()}
    for path, lines in sizes.items():
        most = SHORTER_FILES.get(path, FILE_LINES)
        if lines > most and path not in house.allowed.long_files:
            yield f"{path}: {lines} lines, more than {most}"


def exports(house: House) -> Iterator[str]:
    """`__all__` stands in every module that offers something, is complete, true and in order.

    A decorated function is left out where nobody imports it: a page or a command is known to its decorator.
    """
    taken: dict[str, set[str]] = {}
    for module in house.modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                taken.setdefault(node.module, set()).update(alias.name for alias in node.names)
    for module in house.modules.values():
        listed, defined, bound = _exports(module, taken.get(module.name, set()))
        if listed is None:
            if defined and not module.path.startswith(MIGRATIONS):
                yield f"{module.path}: no __all__, but it offers {', '.join(sorted(defined))}"
            continue
        if missing := defined - set(listed):
            yield f"{module.path}: __all__ lacks {', '.join(sorted(missing))} (list it, or begin its name with _)"
        if unknown := set(listed) - bound:
            yield f"{module.path}: __all__ names {', '.join(sorted(unknown))}, which the module does not have"
        if listed != sorted(set(listed), key=_export_order):
            yield f"{module.path}: __all__ is not in order (ruff check --select RUF022 --fix)"


def _exports(module: Module, taken: set[str]) -> tuple[list[str] | None, set[str], set[str]]:
    """(`__all__` or None, what it must list, all names bound here) of the top level; `taken` by other modules."""
    listed: list[str] | None = None
    defined: set[str] = set()
    bound: set[str] = set()
    statements = list(module.tree.body)
    for node in statements:
        if isinstance(node, (ast.If, ast.Try)):
            statements += [*node.body, *node.orelse]
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
            if isinstance(node, ast.ClassDef) or not node.decorator_list or node.name in taken:
                defined.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = {inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)}
            defined |= found
            if "__all__" in found and node.value is not None:
                listed = list(ast.literal_eval(node.value))
    public = {name for name in defined if not name.startswith("_")}
    return listed, public, bound | defined


def _export_order(name: str) -> tuple[int, list[str | int]]:
    kind = 0 if len(name) > 1 and name.isupper() else 1 if name[:1].isupper() else 2
    return kind, [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", name)]


def kit_files(house: House) -> Iterator[str]:
    """A kit's files have the names whose role is known."""
    for kit in kits(house):
        for path in sorted(kit.rglob("*")):
            inside = path.relative_to(kit)
            if "__pycache__" in inside.parts or (path.is_dir() and inside.parts[0] in KIT_FOLDERS):
                continue
            if not _known_kit_file(inside):
                yield f"{path.relative_to(house.root).as_posix()}: not a name of the kit vocabulary"


def _known_kit_file(inside: Path) -> bool:
    if len(inside.parts) > 1:
        return inside.parts[0] in {"templates", "texts"} or (inside.parts[0] == "adapters" and inside.suffix == ".py")
    if inside.suffix == ".py":
        return inside.stem in KIT_FILES or re.fullmatch(r"_[a-z][a-z0-9_]*", inside.stem) is not None
    return inside.name in {"README.md", "quality.toml"}


def kits(house: House) -> list[Path]:
    """The folders of the kits."""
    folder = house.root / "src" / "terang" / "kits"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.is_dir() and path.name != "__pycache__")


def kit_purity(house: House) -> Iterator[str]:
    """`model` and `rules` do no I/O and import no file that may."""
    for module in house.modules.values():
        kit, _, file = module.name.removeprefix("terang.kits.").partition(".")
        if module.part != "kits" or file not in PURE_KIT_FILES:
            continue
        shells = {f"terang.kits.{kit}.{name}" for name in KIT_FILES - PURE_KIT_FILES - {"__init__"}}
        for item in imports_of(module, house):
            if item.target.split(".")[0] in IMPURE_LIBRARIES or item.target in shells:
                yield f"{module.path}:{item.line}: {file} is pure and must not import {item.target}"


def kit_documents(house: House) -> Iterator[str]:
    """Every kit has a README and answers every question of the quality scale."""
    for kit in kits(house):
        where = kit.relative_to(house.root).as_posix()
        if not (kit / "README.md").is_file():
            yield f"{where}: no README.md"
        if not (kit / "quality.toml").is_file():
            yield f"{where}: no quality.toml"
            continue
        answers = tomllib.loads((kit / "quality.toml").read_text(encoding="utf-8")).get("rules", {})
        for rule in sorted(QUALITY_RULES.keys() | answers.keys()):
            fault = _quality_fault(kit, rule, answers.get(rule))
            if fault:
                yield f"{where}/quality.toml: {rule} {fault}"


def _quality_fault(kit: Path, rule: str, answer: object) -> str:
    if rule not in QUALITY_RULES:
        return "is no rule of the scale"
    status, reason = (answer.get("status"), answer.get("reason")) if isinstance(answer, dict) else (answer, None)
    if status not in {"done", "todo", "exempt"}:
        return f"must be done, todo or exempt, not {status!r}"
    if status != "done" and not (isinstance(reason, str) and reason.strip()):
        return f"is {status} without a reason"
    wanted = QUALITY_RULES[rule]
    if status == "done" and wanted and not any((kit / name).is_file() for name in wanted):
        return f"is called done, but there is no {' or '.join(wanted)}"
    return ""


def allowances(house: House) -> Iterator[str]:
    """An exception has a reason and is still needed."""
    strict = replace(house, allowed=NO_EXCEPTIONS)
    faults = {
        "local_imports": [line.rpartition(": ")[2] for line in local_imports(strict)],
        "long_files": [line.partition(":")[0] for line in file_sizes(strict)],
        "long_functions": [line.split(": ")[1].split(" ")[0] for line in function_sizes(strict)],
    }
    for kind, needed in faults.items():
        for key, reason in getattr(house.allowed, kind).items():
            if len(reason.split()) < 3:
                yield f"allowance {key}: no reason is given"
            if key not in needed:
                yield f"allowance {key}: no longer needed"


Rule = Callable[[House], Iterator[str]]
RULES: tuple[Rule, ...] = (
    *(arrows, relative_imports, owned_libraries, local_imports, names, function_sizes, file_sizes, exports),
    *(kit_files, kit_purity, kit_documents, allowances),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule: Rule) -> None:
    """The real house has no fault under this rule."""
    faults = list(rule(load(ROOT, ALLOWED)))
    assert not faults, "\n" + "\n".join(faults)


QUALITY = "[rules]\n" + "\n".join(
    f'{rule} = "done"' if wanted else f'{rule} = {{status = "todo", reason = "later"}}'
    for rule, wanted in QUALITY_RULES.items()
)
SOUND = {
    "terang/__init__.py": '"""A house."""\n\n__version__ = "1"\n',
    "terang/values/__init__.py": "",
    "terang/values/money.py": '__all__ = ["RUPIAH", "Sum", "add"]\nRUPIAH = 1\nclass Sum: ...\ndef add(): ...\n',
    "terang/kit.py": "from terang.values import money\n\n__all__ = ['PRICE']\n\nPRICE = money.RUPIAH\n",
    "terang/store/migrations/0001_first.py": "def upgrade():\n" + "    x = 1\n" * 70,
    "terang/store/rows.py": "import sqlalchemy\nfrom terang import kit\nfrom terang.values.money import Sum\n",
    "terang/kits/meter/__init__.py": "from terang.kits.meter import model\n",
    "terang/kits/meter/model.py": "from terang.values import money\n",
    "terang/kits/meter/rules.py": "from terang.kits.meter import model\n",
    "terang/kits/meter/device.py": "import socket\nfrom terang.kits.meter import rules\n",
    "terang/kits/meter/simulator.py": "",
    "terang/kits/meter/pages.py": "",
    "terang/kits/meter/_frames.py": "",
    "terang/kits/meter/adapters/shelly.py": "",
    "terang/kits/meter/templates/room.html": "",
    "terang/kits/meter/README.md": "# Meter",
    "terang/kits/meter/quality.toml": QUALITY,
    "terang/edge/agent.py": "from terang.kits.meter import device\n",
    "terang/pipeline.py": "from terang.store import rows\n",
    "terang/cli/__init__.py": "import click\nfrom terang import pipeline\n@click.command\ndef demo(): ...\n",
}
LONG_FUNCTION = "def _f():\n" + "    x = 1\n" * 70
LONG_METHOD = "class A:\n    async " + LONG_FUNCTION.replace("\n", "\n    ")
# rule -> made-up files that break it (None takes a file away), and what the fault must say
BROKEN: list[tuple[Rule, dict[str, str | None], str]] = [
    (arrows, {"terang/store/a.py": "from terang.ledger import log"}, "store must not import terang.ledger"),
    (arrows, {"terang/store/a.py": "from terang import kits"}, "store must not import terang.kits"),
    (arrows, {"terang/values/a.py": "import terang.kit"}, "values must not import terang.kit"),
    (arrows, {"terang/web/a.py": "from terang.kits.meter import pages"}, "web must not import terang.kits.meter"),
    (arrows, {"terang/edge/a.py": "from terang.store import rows"}, "edge must not import terang.store.rows"),
    (arrows, {"terang/kits/door/model.py": "from terang.kits.meter import model"}, "kit door imports kit meter"),
    (arrows, {"terang/store/a.py": "import importlib\nimportlib.import_module('terang.web')"}, "store must not"),
    (arrows, {"terang/extras/a.py": ""}, "extras is no part of the house"),
    (relative_imports, {"terang/store/a.py": "from . import rows"}, "relative import"),
    (owned_libraries, {"terang/web/a.py": "import sqlalchemy as sa"}, "sqlalchemy belongs to store"),
    (owned_libraries, {"terang/web/a.py": "from eth.vm.forks import london"}, "belongs to ledger"),
    (local_imports, {"terang/store/a.py": "def _f():\n    import json"}, "terang.store.a -> json"),
    (local_imports, {"terang/store/a.py": "class _A:\n    def f(self):\n        from os import path"}, "-> os"),
    (names, {"terang/store/utils.py": ""}, "the name utils says nothing"),
    (names, {"terang/common/money.py": ""}, "the name common says nothing"),
    (names, {"terang/kits/meter/_helpers.py": ""}, "the name helpers says nothing"),
    (function_sizes, {"terang/store/a.py": LONG_FUNCTION}, "terang.store.a._f has 71 lines of code"),
    (function_sizes, {"terang/store/a.py": LONG_METHOD}, "A._f has 71"),
    (file_sizes, {"terang/store/a.py": "\n" * 601}, "601 lines, more than 600"),
    (file_sizes, {"terang/pipeline.py": "\n" * 201}, "201 lines, more than 200"),
    (file_sizes, {"../tests/test_a.py": "\n" * 601}, "tests/test_a.py: 601 lines"),
    (exports, {"terang/store/a.py": "def f(): ..."}, "no __all__, but it offers f"),
    (exports, {"terang/store/a.py": "__all__ = ['f']\ndef f(): ...\nA = 1"}, "__all__ lacks A"),
    (exports, {"terang/store/a.py": "__all__ = ['f']\ndef f(): ...\nA, B = 1, 2"}, "__all__ lacks A, B"),
    (exports, {"terang/store/a.py": "__all__ = ['f']"}, "__all__ names f"),
    (
        exports,
        {"terang/store/a.py": "__all__ = []\n@b\ndef f(): ...", "terang/store/c.py": "from terang.store.a import f"},
        "__all__ lacks f",
    ),
    (exports, {"terang/store/a.py": "__all__ = ['b', 'a']\na = b = 1"}, "not in order"),
    (exports, {"terang/store/a.py": "__all__ = ['a', 'a']\na = 1"}, "not in order"),
    (kit_files, {"terang/kits/meter/parser.py": ""}, "parser.py: not a name of the kit vocabulary"),
    (kit_files, {"terang/kits/meter/notes.txt": ""}, "notes.txt"),
    (kit_files, {"terang/kits/meter/drivers/a.py": ""}, "drivers"),
    (kit_purity, {"terang/kits/meter/model.py": "import time"}, "model is pure and must not import time"),
    (kit_purity, {"terang/kits/meter/rules.py": "from terang.kits.meter import device"}, "must not import terang.kits"),
    (kit_documents, {"terang/kits/meter/README.md": None}, "no README.md"),
    (kit_documents, {"terang/kits/meter/quality.toml": None}, "no quality.toml"),
    (kit_documents, {"terang/kits/meter/quality.toml": QUALITY.replace('model = "done"', "")}, "model must be"),
    (kit_documents, {"terang/kits/meter/quality.toml": QUALITY.replace('"later"', '" "', 1)}, "todo without a reason"),
    (kit_documents, {"terang/kits/meter/quality.toml": QUALITY + '\nshine = "done"'}, "shine is no rule"),
    (kit_documents, {"terang/kits/meter/simulator.py": None}, "there is no simulator.py"),
]


def build(root: Path, files: dict[str, str | None], allowed: Allowances = NO_EXCEPTIONS) -> House:
    """The sound house with these files changed."""
    for name, text in ({**SOUND, **files}).items():
        path = root / "src" / name
        if text is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return load(root, allowed)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_sound_house_passes(rule: Rule, tmp_path: Path) -> None:
    """No rule finds a fault where there is none."""
    assert list(rule(build(tmp_path, {}))) == []


@pytest.mark.parametrize(
    ("rule", "files", "says"), BROKEN, ids=[f"{rule.__name__}-{number}" for number, (rule, *_) in enumerate(BROKEN)]
)
def test_a_broken_house_is_named(rule: Rule, files: dict[str, str | None], says: str, tmp_path: Path) -> None:
    """Each rule finds the one fault put in, and says it."""
    (tmp_path / "src").mkdir()
    faults = list(rule(build(tmp_path, files)))
    assert any(says in fault for fault in faults), faults


def test_an_allowance_works_while_it_is_needed(tmp_path: Path) -> None:
    """A listed exception silences its rule; without reason or need it is itself a fault."""
    source = "def _f():\n    import json\n" + "    x = 1\n" * 600
    files: dict[str, str | None] = {"terang/store/a.py": source}
    allowed = Allowances(
        local_imports={"terang.store.a -> json": "an optional extra"},
        long_files={"src/terang/store/a.py": "a table of cases"},
        long_functions={"terang.store.a._f": "a table of cases"},
    )
    house = build(tmp_path, files, allowed)
    assert [fault for rule in RULES for fault in rule(house)] == []
    without_reason = replace(house, allowed=replace(allowed, long_files={"src/terang/store/a.py": "because"}))
    assert list(allowances(without_reason)) == ["allowance src/terang/store/a.py: no reason is given"]
    unneeded = replace(house, allowed=replace(allowed, long_functions={"terang.kit.f": "it was long once"}))
    assert list(allowances(unneeded)) == ["allowance terang.kit.f: no longer needed"]


def test_every_rule_is_shown_to_fail() -> None:
    """`BROKEN` has a case for each rule (the allowances have their own test)."""
    assert {rule for rule, *_ in BROKEN} | {allowances} == set(RULES)


def test_docstrings_and_comments_are_free(tmp_path: Path) -> None:
    """70 lines of code with a long docstring and comments are within the limit."""
    body = 'def _f():\n    """Say.\n' + "    more\n" * 50 + '    """\n' + "    # why\n\n    x = 1\n" * 69
    assert list(function_sizes(build(tmp_path, {"terang/store/a.py": body}))) == []


def test_the_arrows_have_no_circle() -> None:
    """The table itself allows no cycle."""
    waiting = {part: set(targets) for part, targets in ARROWS.items()}
    while free := {part for part, targets in waiting.items() if not targets}:
        waiting = {part: targets - free for part, targets in waiting.items() if part not in free}
    assert not waiting
