"""The portable files: what a microcontroller shares with the platform, held to what MicroPython can do and run there.

To have a further file tried, list it in PORTABLE and write `portable/programs/NAME.py` with `answer(case)`; its cases
are `portable/cases/NAME.json` (a list) or a function in CASES here. Both interpreters must give the same answers.
"""

import ast
import importlib.util
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from terang.values import envelope, quantity, reading, receipt

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "tests" / "portable"
PORTABLE = (
    "terang/values/errors.py",
    "terang/values/cbor.py",
    "terang/values/quantity.py",
    "terang/values/reading.py",
    "terang/values/envelope.py",
    "terang/values/receipt.py",
    "terang/kits/meter/model.py",
    "terang/kits/meter/rules.py",
)
# A kit's model or rules that no device will run, with the reason.
SERVER_ONLY: dict[str, str] = {}
LIBRARY = {
    "binascii": {"hexlify", "unhexlify"},
    "collections": {"OrderedDict", "deque", "namedtuple"},
    "hashlib": {"sha256"},
    "struct": {"calcsize", "pack", "pack_into", "unpack", "unpack_from"},
}
# What CPython has and MicroPython 1.27 has not; `test_what_is_called_lacking_is_lacking` tries each.
LACKING_ATTRIBUTES = {
    *("_asdict", "_fields", "_replace", "bit_count", "bit_length", "casefold", "hexdigest", "is_integer", "isascii"),
    *("isidentifier", "ljust", "removeprefix", "removesuffix", "rjust", "title", "translate", "zfill"),
}
LACKING_KEYWORDS = {("to_bytes", "signed"), ("from_bytes", "signed"), ("zip", "strict"), ("namedtuple", "defaults")}
NOT_INTEGER_NAMES = {"complex", "float"}
HARNESS = """
import json
import sys

sys.path.insert(0, "/src")
from terang.values.errors import TerangError


def answers(answer, cases):
    for case in cases:
        try:
            yield {"is": answer(case)}
        except TerangError as error:
            yield {"refused": type(error).__name__, "says": str(error)}
        except Exception as error:
            yield {"broken": type(error).__name__}


with open("/cases.json") as file:
    cases = json.loads(file.read())
import program

with open("/answers.json", "w") as file:
    file.write(json.dumps(list(answers(program.answer, cases))))
"""


def faults(source: str) -> Iterator[str]:
    """Everything in the source that a portable file must not have."""
    for node in ast.walk(ast.parse(source)):
        for fault in (*_import_faults(node), *_number_faults(node), *_syntax_faults(node), *_library_faults(node)):
            yield f"line {getattr(node, 'lineno', 1)}: {fault}"


def _import_faults(node: ast.AST) -> Iterator[str]:
    portable = {path.removesuffix(".py").replace("/", ".") for path in PORTABLE}
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name not in LIBRARY and alias.name not in portable:
                yield f"import of {alias.name}, which is not portable"
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            known = alias.name in LIBRARY.get(node.module or "", ()) or node.module in portable
            if not known and f"{node.module}.{alias.name}" not in portable:
                yield f"import of {node.module}.{alias.name}, which is not portable"


def _number_faults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, (float, complex)):
        yield f"the number {node.value} is no integer"
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div):
        yield "/ makes a float; // stays whole"
    if isinstance(node, ast.Name) and node.id in NOT_INTEGER_NAMES:
        yield f"{node.id} is no integer"


def _syntax_faults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Match):
        yield "MicroPython has no match"
    if isinstance(node, ast.TryStar):
        yield "MicroPython has no except*"
    if isinstance(node, (ast.FunctionDef, ast.Lambda)) and node.args.posonlyargs:
        yield "MicroPython has no positional-only arguments"
    if isinstance(node, ast.FunctionDef) and node.name in {"__new__", "__init_subclass__", "__set_name__"}:
        yield f"{node.name} does not work as here"
    shows = isinstance(node, ast.Set) or (isinstance(node, (ast.List, ast.Tuple)) and isinstance(node.ctx, ast.Load))
    if shows and any(isinstance(item, ast.Starred) for item in node.elts):  # type: ignore[attr-defined]
        yield "MicroPython cannot unpack inside a list, tuple or set"
    if isinstance(node, ast.Dict) and None in node.keys:
        yield "MicroPython cannot unpack inside a dict"
    if isinstance(node, ast.Slice) and node.step is not None:
        yield "MicroPython slices only with step 1"
    if isinstance(node, (ast.AsyncFunctionDef, ast.Await)):
        yield "a portable file is pure and does not wait"


def _library_faults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute) and node.attr in LACKING_ATTRIBUTES:
        yield f"MicroPython has no .{node.attr}"
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        allowed = LIBRARY.get(node.value.id)
        if allowed is not None and node.attr not in allowed:
            yield f"{node.value.id}.{node.attr} is not portable"
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for keyword in node.keywords:
            if (called, keyword.arg) in LACKING_KEYWORDS:
                yield f"MicroPython's {called} has no {keyword.arg}="


@pytest.mark.parametrize("path", PORTABLE)
def test_a_portable_file_stays_within_micropython(path: str) -> None:
    """It imports from the closed list, calculates in integers, and uses no syntax that MicroPython lacks."""
    found = list(faults((ROOT / "src" / path).read_text(encoding="utf-8")))
    assert not found, f"{path}\n" + "\n".join(found)


# (source, what the fault says, whether MicroPython itself fails on it)
NOT_PORTABLE = [
    ("import time", "import of time", False),
    ("import enum", "import of enum", True),
    ("import dataclasses", "import of dataclasses", True),
    ("from typing import NamedTuple", "import of typing.NamedTuple", True),
    ("from __future__ import annotations", "import of __future__", True),
    ("from struct import Struct", "import of struct.Struct", True),
    ("from terang.values import clock", "import of terang.values.clock", True),
    ("x = 1.5", "1.5 is no integer", False),
    ("x = 3\nx = x / 2", "/ makes a float", False),
    ("x = 3\nx /= 2", "/ makes a float", False),
    ("x = float('1')", "float is no integer", False),
    ("match 1:\n    case 1: pass", "no match", True),
    ("try:\n    pass\nexcept* ValueError:\n    pass", "no except*", True),
    ("def f(a, /): return a", "positional-only", True),
    ("x = [*range(3)]", "cannot unpack", True),
    ("x = (1, *range(3))", "cannot unpack", True),
    ("x = {*range(3)}", "cannot unpack", True),
    ("x = {**{}}", "cannot unpack inside a dict", True),
    ("x = b'abc'[::-1]", "step 1", True),
    ("async def f(): pass", "does not wait", False),
    ("import hashlib\nx = hashlib.sha3_256()", "hashlib.sha3_256 is not portable", True),
    ("x = (1).to_bytes(2, 'big', signed=True)", "no signed=", True),
    ("x = int.from_bytes(b'a', 'big', signed=True)", "no signed=", True),
    ("x = list(zip([1], [2], strict=True))", "no strict=", True),
    ("from collections import namedtuple\nN = namedtuple('N', ('a',), defaults=(1,))", "no defaults=", True),
    ("from collections import namedtuple\nx = namedtuple('N', ('a',))(1)._replace(a=2)", "no ._replace", True),
    ("from collections import namedtuple\nx = namedtuple('N', ('a',))(1)._asdict()", "no ._asdict", True),
    ("from collections import namedtuple\nx = namedtuple('N', ('a',))(1)._fields", "no ._fields", True),
    (
        """
from collections import namedtuple
class P(namedtuple('P', ('a',))):
    def __new__(cls, a=1): return super().__new__(cls, a)
x = P()
""",
        "__new__ does not work",
        True,
    ),
    *((f"x = 'a'.{name}", f"no .{name}", True) for name in ("casefold", "isascii", "isidentifier", "ljust", "rjust")),
    *((f"x = 'a'.{name}", f"no .{name}", True) for name in ("removeprefix", "removesuffix", "title", "zfill")),
    *((f"x = (1).{name}", f"no .{name}", True) for name in ("bit_length", "bit_count")),
    ("x = (1.0).is_integer", "no .is_integer", True),
    ("x = 'a'.translate", "no .translate", True),
    ("import hashlib\nx = hashlib.sha256().hexdigest", "no .hexdigest", True),
]
PORTABLE_ENOUGH = """
from collections import namedtuple
from terang.values import cbor
N = namedtuple("N", ("a", "b"))
class P(N):
    # Annotations are dropped unread, so generic and joined types may stand there.
    c: dict[str, int]
    __slots__ = ()
    @property
    def whole(self) -> int | None:
        return self.a // 2
def f(a: list[int], *, b: tuple[int, ...] = ()) -> dict[str, "int"]:
    x: list[int] = list(a)
    return {f"{n:08x}": n for n in x}
x = P(1, b=2).whole, f([1], b=(2,))
first, *rest = [1, 2, 3]
if (n := len(rest)) != 2 or {"a": 1} | {"b": 2} != {"a": 1, "b": 2}:
    raise ValueError("not as here")
"""


@pytest.mark.parametrize(("source", "says", "_lacking"), NOT_PORTABLE)
def test_what_is_not_portable_is_named(source: str, says: str, _lacking: bool) -> None:
    """The check fails on each thing that a portable file must not have, and only there."""
    assert any(says in fault for fault in faults(source))
    assert list(faults(PORTABLE_ENOUGH)) == []


def test_every_lacking_name_has_its_example() -> None:
    """No attribute or keyword is banned without an example of it."""
    sources = " ".join(source for source, *_ in NOT_PORTABLE)
    assert all(f".{name}" in sources for name in LACKING_ATTRIBUTES)
    assert all(f"{called}(" in sources and f"{name}=" in sources for called, name in LACKING_KEYWORDS)


def micropython(node: Path, program: str, cases: list[Any]) -> list[dict[str, Any]]:
    """What `answer` of the program gives for each case when MicroPython runs it over the portable files."""
    files = {f"/src/{path}": (ROOT / "src" / path).read_text(encoding="utf-8") for path in PORTABLE}
    # A package's own __init__ may be more than portable (a kit's holds its KIT): a device carries an empty one.
    for path in list(files):
        folders = path.split("/")[2:-1]
        files |= {f"/src/{'/'.join(folders[: n + 1])}/__init__.py": "" for n in range(len(folders))}
    files |= {"/src/program.py": program, "/cases.json": json.dumps(cases)}
    packages = subprocess.run(
        [str(ROOT / "scripts" / "node_modules.sh"), str(HERE)], check=True, capture_output=True, text=True
    ).stdout.strip()
    run = subprocess.run(
        [str(node), str(HERE / "run.mjs"), packages],
        input=json.dumps({"files": files, "harness": HARNESS}),
        capture_output=True,
        check=False,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    answers: list[dict[str, Any]] = json.loads(run.stdout)
    return answers


def cpython(program: Path, cases: list[Any]) -> list[dict[str, Any]]:
    """The same under the Python that runs this test."""
    space: dict[str, Any] = {}
    exec(HARNESS.partition("with open")[0], space)
    answers: list[dict[str, Any]] = json.loads(json.dumps(list(space["answers"](load(program).answer, cases))))
    return answers


def load(program: Path) -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location(f"portable_{program.stem}", program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_called_lacking_is_lacking(node_path: Path) -> None:
    """MicroPython really fails on all that is banned for its sake, and runs what is allowed."""
    sources = [source for source, _, lacking in NOT_PORTABLE if lacking]
    program = "def answer(source):\n    exec(source, {})\n    return 'ran'\n"
    answers = micropython(node_path, program, [*sources, PORTABLE_ENOUGH])
    assert [source for source, answer in zip(sources, answers, strict=False) if answer == {"is": "ran"}] == []
    assert answers[-1] == {"is": "ran"}


def test_it_really_is_micropython(node_path: Path) -> None:
    """The other interpreter is another one, and its refusals and failures are told apart."""
    program = """
import sys
from terang.values.errors import NotCanonical
def answer(case):
    if case == "refuse":
        raise NotCanonical("why")
    if case == "break":
        return 1 // 0
    return sys.implementation.name
"""
    assert micropython(node_path, program, ["name", "refuse", "break"]) == [
        {"is": "micropython"},
        {"refused": "NotCanonical", "says": "why"},
        {"broken": "ZeroDivisionError"},
    ]


@pytest.mark.parametrize("path", PORTABLE)
def test_a_portable_file_imports_under_micropython(path: str, node_path: Path) -> None:
    """Each file loads there on its own."""
    module = path.removesuffix(".py").replace("/", ".")
    program = f"def answer(case):\n    import {module}\n    return sorted({module}.__all__)\n"
    [answer] = micropython(node_path, program, [None])
    assert answer == {"is": sorted(importlib.import_module(module).__all__)}


def codec_cases(rng: random.Random, n: int) -> Iterator[tuple[str, Any]]:
    """Statements of every kind, whole and broken, and values beyond what the protocol can carry."""
    shown = load(HERE / "programs" / "codec.py").shown
    edges = [0, 1, 23, 24, 255, 256, 2**15, 2**16 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**70]
    for edge in edges:
        for value in (edge, -edge, -1 - edge, (edge,), (-edge, 1), {edge: [None, "é", b"\0"]}, [edge, -1]):
            yield "encode", shown(value)
    for _ in range(n):
        yield "encode", shown(tuple(rng.choice((1, -1)) * rng.getrandbits(rng.randrange(66)) for _ in range(4)))
        payload, down = envelope.encode_payload(an_envelope(rng)), receipt.encode_down(a_message(rng))
        statement = envelope.seal(payload, rng.randbytes(64))
        for what, data in (("payload", payload), ("statement", statement), ("down", down), ("value", down)):
            yield what, data.hex()
            broken = bytearray(data)
            broken[rng.randrange(len(broken))] = rng.choice((0, 0x1F, 0x80, 0xFF, rng.randrange(256)))
            yield what, broken.hex()
            yield what, data[: rng.randrange(len(data))].hex()


def an_envelope(rng: random.Random) -> envelope.Envelope:
    """A made-up envelope of any kind."""
    epoch, clock = rng.randbytes(8), rng.randrange(3)
    count = rng.choice((1, 2, 60))
    offsets = tuple(1000 * i for i in range(count))
    columns = {code: tuple(rng.randrange(-9, 2**31) for _ in offsets) for code in sorted(quantity.BY_CODE)}
    kind, body = rng.choice(
        [
            (envelope.READINGS, reading.Readings(offsets, columns)),
            (envelope.LOST, reading.Lost(epoch, 1, 2**40, 0, 2**33, 7, "killed")),
            (envelope.TIME, reading.TimeFix(epoch, 5, 1_790_000_000_000, reading.CLOCK_RTC)),
            (envelope.EVENT, reading.Event("bus silent", -3)),
        ]
    )
    return envelope.Envelope(
        kind=kind,
        device=rng.randbytes(16),
        epoch=epoch,
        sequence=rng.getrandbits(33),
        previous=rng.randbytes(32),
        meter=rng.randrange(1, 248),
        attested_by=rng.randrange(3),
        uptime_ms=rng.getrandbits(40),
        utc_ms=rng.getrandbits(41) if clock else None,
        clock=clock,
        body=body,
    )


def a_message(rng: random.Random) -> object:
    """A made-up message of the platform to a device."""
    device, epoch = rng.randbytes(16), rng.randbytes(8)
    epochs = tuple(receipt.EpochReceipt(rng.randbytes(8), rng.getrandbits(20), 0) for _ in range(rng.randrange(3)))
    return rng.choice([receipt.Receipt(device, epochs), receipt.Resend(device, epoch, 1, rng.getrandbits(34))])


def register_cases(rng: random.Random, n: int) -> Iterator[tuple[int, list[Any]]]:
    """The vectors, then counters that rise, stand, fall to zero, jump and come back, in stretches of some readings."""
    for vector in json.loads((ROOT / "tests" / "vectors" / "register.json").read_text(encoding="utf-8")):
        stretch = [[row[column] for row in vector["readings"]] for column in (0, 2, 1)]
        yield 23_000_000, [stretch]
    for _ in range(n):
        time_ms, counter_mwh = 1_790_000_000_000 + rng.randrange(10**7), rng.randrange(10**10)
        stretches: list[Any] = []
        for _ in range(rng.randrange(1, 8)):
            times_ms: list[int] = []
            counters_mwh: list[int] = []
            voltages_mv: list[int] = []
            for _ in range(rng.randrange(1, 6)):
                time_ms += rng.choice((0, 1000, 1000, 10_000, 3_600_000, 90_000_000))
                counter_mwh = rng.choice((counter_mwh + rng.randrange(0, 9000, 1000),) * 8 + (0, rng.randrange(10**10)))
                times_ms.append(time_ms)
                counters_mwh.append(rng.choice((counter_mwh,) * 9 + (rng.randrange(10**10),)))
                voltages_mv.append(rng.choice((230_000,) * 9 + (0,)))
            stretches.append((times_ms, counters_mwh, rng.choice((voltages_mv, []))))
        yield rng.choice((23_000_000, 2_200_000)), stretches


def plausible_cases(rng: random.Random, n: int) -> Iterator[list[Any]]:
    """Answers that agree with themselves, and answers of which one value does not."""
    for _ in range(n):
        now_ms, energy_mwh, answers = 0, rng.randrange(10**10), []
        for _ in range(5):
            now_ms += rng.choice((1000, 60_000))
            energy_mwh += 1000 * rng.choice((0, 1, 7, 10**5))
            current_ma, factor = rng.randrange(100_000), 10 * rng.randrange(101)
            values = [230_000, current_ma, 230 * current_ma * factor // 1000, energy_mwh, 50_000, factor]
            if rng.randrange(2):
                values[rng.randrange(6)] = rng.choice((0, 1, 79_999, 260_001, 10**8, rng.randrange(2**32)))
            answers.append((now_ms, values))
        yield answers


_AT_ONCE = 250

CASES: dict[str, Callable[[random.Random, int], Iterator[Any]]] = {
    "codec": codec_cases,
    "plausible": plausible_cases,
    "register": register_cases,
}


@pytest.mark.parametrize("name", sorted(path.stem for path in (HERE / "programs").glob("*.py")))
def test_both_interpreters_answer_alike(name: str, node_path: Path, soak: Callable[[int, int], int]) -> None:
    """CPython and MicroPython give the same answer, or the same refusal, to every case; neither breaks."""
    cases: list[Any] = []
    stored = HERE / "cases" / f"{name}.json"
    if stored.exists():
        cases += json.loads(stored.read_text(encoding="utf-8"))
    if name in CASES:
        cases += CASES[name](random.Random(20261), soak(5_000, 200))
    assert cases, f"no cases for {name}"
    program = HERE / "programs" / f"{name}.py"
    here, source = cpython(program, cases), program.read_text(encoding="utf-8")
    there = []
    for begin in range(0, len(cases), _AT_ONCE):  # a microcontroller's heap is looked through at every allocation
        there += micropython(node_path, source, cases[begin : begin + _AT_ONCE])
    assert len(here) == len(there) == len(cases)
    assert any("is" in answer for answer in here)
    differing = [(*row,) for row in zip(cases, here, there, strict=True) if row[1] != row[2] or "broken" in row[1]]
    assert not differing, f"{len(differing)} of {len(cases)} differ, the first: {differing[:3]}"


def test_every_pure_kit_file_is_portable_or_says_why_not() -> None:
    """A kit's model and rules are in PORTABLE, or in SERVER_ONLY with a reason."""
    found = {
        path.relative_to(ROOT / "src").as_posix()
        for name in ("model.py", "rules.py")
        for path in (ROOT / "src" / "terang" / "kits").glob(f"*/{name}")
    }
    assert found <= {*PORTABLE, *SERVER_ONLY}
    assert SERVER_ONLY.keys() <= found
    assert all(len(reason.split()) > 2 for reason in SERVER_ONLY.values())


def test_every_portable_file_is_used_by_a_program() -> None:
    """No portable file is only imported under MicroPython: a program answers cases with it."""
    used = {
        f"{node.module}.{alias.name}"
        for program in (HERE / "programs").glob("*.py")
        for node in ast.walk(ast.parse(program.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    } | {"terang.values.errors"}  # every refusal is one of them
    assert {path.removesuffix(".py").replace("/", ".") for path in PORTABLE} <= used
