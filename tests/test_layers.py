"""The architecture as a test: imports point down, heavy libraries have one home, modules and functions stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_MODULE_LINES = 600
MAX_FUNCTION_LINES = 60

# What each package may import besides itself; `errors` and `config` are modules of the package diskkv itself.
ALLOWED = {
    "errors": set[str](),
    "config": {"resp", "codec", "errors"},
    "codec": {"errors"},
    "resp": {"codec", "errors"},
    "engine": {"codec", "errors", "config"},
    "datatypes": {"engine", "codec", "errors", "config"},
    "services": {"datatypes", "engine", "codec", "resp", "errors", "config"},
    "commands": {"services", "datatypes", "engine", "codec", "resp", "errors", "config"},
    "server": {"commands", "services", "datatypes", "engine", "codec", "resp", "errors", "config"},
}
# Third-party modules that only one package may import.
HOMES = {
    "trio": "server",
    "asyncio": "server",
    "socket": "server",
    "ssl": "server",
    "plyvel": "engine",
    "lupa": "services",
    "prometheus_client": "services",
}

MODULES = sorted((ROOT / "diskkv").rglob("*.py"))
SIZED = [*MODULES, *sorted((ROOT / "tools").rglob("*.py"))]


def layer(path: Path) -> str:
    """The package, or the module directly in diskkv/, that a file belongs to; `__main__` and `__init__` are the top."""
    return path.relative_to(ROOT / "diskkv").parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Every imported module, with its line; ``from diskkv import errors`` counts as diskkv.errors."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).with_suffix("").parts[: -node.level] if node.level else ()
            module = ".".join([*package, *([node.module] if node.module else [])])
            yield node.lineno, module
            if module == "diskkv":
                yield from ((node.lineno, f"diskkv.{alias.name}") for alias in node.names)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [path for path in MODULES if layer(path) in ALLOWED], ids=named)
def test_imports_point_down(path: Path) -> None:
    own = layer(path)
    wrong = []
    for line, module in imported(path):
        parts = module.split(".")
        if parts[0] == "diskkv" and len(parts) > 1:
            target = parts[1]
            known = target in ALLOWED
            if known and target != own and target not in ALLOWED[own]:
                wrong.append(f"{named(path)}:{line} {own} imports {module}")
        elif parts[0] in {"tools", "tests"}:
            wrong.append(f"{named(path)}:{line} {own} imports {module}")
    assert wrong == []


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_heavy_libraries_have_one_home(path: Path) -> None:
    wrong = [
        f"{named(path)}:{line} imports {module}"
        for line, module in imported(path)
        if (home := HOMES.get(module.split(".")[0])) is not None and layer(path) != home
    ]
    assert wrong == []


@pytest.mark.parametrize("path", [path for path in MODULES if layer(path) != "server"], ids=named)
def test_nothing_below_the_server_is_async(path: Path) -> None:
    kinds = (ast.AsyncFunctionDef, ast.AsyncWith, ast.AsyncFor, ast.Await)
    wrong = [node.lineno for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    assert wrong == []


@pytest.mark.parametrize("path", SIZED, ids=named)
def test_modules_and_functions_are_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_MODULE_LINES
    long = [
        f"{named(path)}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert long == []


def test_every_package_is_a_known_layer() -> None:
    found = {layer(path) for path in MODULES} - {"__init__", "__main__"}
    assert found <= set(ALLOWED)
