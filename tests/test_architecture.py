"""The map holds: imports go down only, and a few habits that reviews should not have to repeat."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "inhouse"
PLAIN = frozenset({"domain", "errors", "mac", "telemetry"})
COMPOSITION = frozenset({"cli", "up", "parts", "process", "greeting", "__main__", "__init__"})
"""What puts the rooms together may import any of them."""

MAY_IMPORT: dict[str, frozenset[str]] = {
    "config": frozenset(),
    "store": frozenset({"config"}),
    "audit": frozenset({"config", "store"}),
    "identity": frozenset({"config", "store", "audit"}),
    "dlp": frozenset({"config"}),
    "upstream": frozenset({"config"}),
    "gateway": frozenset({"config", "store", "audit", "identity", "dlp", "upstream"}),
    "fleet": frozenset({"config", "store", "audit", "identity", "upstream"}),
    "planner": frozenset(),
    "deploy": frozenset({"config", "planner"}),
    "compliance": frozenset({"config", "store", "audit", "identity", "dlp", "fleet"}),
    "console": frozenset(
        {"config", "store", "audit", "identity", "dlp", "upstream", "fleet", "planner"}
        | {"deploy", "compliance"}
    ),
}
SPEAKERS = frozenset(
    {"cli.py", "people_cli.py", "rights_cli.py", "terminal.py", "fake_cli.py"}
    | {"joining_cli.py", "login_cli.py", "reviews_cli.py", "review_walk.py"}
    | {"greeting.py", "__main__.py", "llamacpp.py"}
)
"""Files that print: commands, and the child that tells its parent where it listens."""

PURE = ("dlp/", "upstream/dialects/", "upstream/health.py", "gateway/http1.py", "config/decode.py")
"""Functions of values: the clock is handed in."""

CLOCKS = frozenset({"time.time", "time.monotonic", "time.perf_counter", "datetime.now"})
VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "misc"})
MAX_LINES = 400


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The room of a file, or its own name where it is a plain module."""
    inside = path.relative_to(PACKAGE).parts
    return inside[0] if len(inside) > 1 else path.stem


def imported_rooms(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "inhouse":
            names = [f"inhouse.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "inhouse" and len(parts) > 1:
                yield node.lineno, parts[1]


def forbidden_imports(room: str, source: str) -> list[str]:
    """Lines that import what this room may not, each with what would be right."""
    if room in COMPOSITION:
        return []
    allowed = PLAIN | MAY_IMPORT.get(room, frozenset()) | {room, "__version__"}
    if room in PLAIN:
        allowed = PLAIN
    return [
        f"line {line}: {room} imports {name}; it may import {', '.join(sorted(allowed))}"
        for line, name in imported_rooms(source)
        if name not in allowed
    ]


def bad_habits(name: str, source: str) -> list[str]:
    """What a review would say about one file."""
    found = []
    lines = source.splitlines()
    if len(lines) > MAX_LINES:
        found.append(f"has {len(lines)} lines; split it by reason to change ({MAX_LINES} at most)")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Global):
            found.append(f"line {node.lineno}: 'global'; hand the state in")
        elif isinstance(node, ast.ExceptHandler) and _broad(node):
            if "#" not in lines[node.lineno - 1] and not _raises(node):
                found.append(f"line {node.lineno}: catches everything; say why on that line")
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "print" and Path(name).name not in SPEAKERS:
                found.append(f"line {node.lineno}: prints; log, or return it to a command")
            if called in CLOCKS and name.startswith(PURE):
                found.append(f"line {node.lineno}: asks {called}; the clock is handed in")
        elif isinstance(node, ast.Expr) and _spawns(node.value):
            found.append(f"line {node.lineno}: a task without an owner; keep it, and end it")
    return found


def _broad(node: ast.ExceptHandler) -> bool:
    return node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")


def _raises(node: ast.ExceptHandler) -> bool:
    return any(isinstance(each, ast.Raise) for each in ast.walk(node))


def _spawns(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith("create_task")


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    assert forbidden_imports(room_of(path), path.read_text()) == []


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_habits(path: Path) -> None:
    assert bad_habits(str(path.relative_to(PACKAGE)), path.read_text()) == []


def test_every_room_says_what_it_is() -> None:
    rooms = [
        path for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()
    ]
    assert {room.name for room in rooms} <= set(MAY_IMPORT)
    for room in rooms:
        said = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
        for word in ("Owns:", "May import:", "Never:"):
            assert word in said, f"{room.name}/__init__.py does not say '{word}'"


def test_names_say_something() -> None:
    assert [path.name for path in files() if path.stem in VAGUE_NAMES] == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("gateway", "from inhouse.fleet.engine import EngineProcess"),
        ("fleet", "import inhouse.gateway.pipeline"),
        ("upstream", "from inhouse import gateway"),
        ("config", "def late():\n    from inhouse.store import keys"),
        ("domain", "import inhouse.config.schema"),
    ],
)
def test_the_check_of_imports_can_fail(room: str, source: str) -> None:
    assert len(forbidden_imports(room, source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    global x\n    x = 1",
        "try:\n    pass\nexcept Exception:\n    pass",
        "print(1)",
        "import asyncio\nasyncio.create_task(f())",
        "import time\ntime.time()",
        "x = 1\n" * 500,
    ],
)
def test_the_check_of_habits_can_fail(source: str) -> None:
    assert len(bad_habits("dlp/any.py", source)) == 1
