"""Imports point one way: `modules → infrastructure → core`; `api` and `cli` sit on top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.discovery import discover
from app.core.folders import APP_ROOT

ALWAYS = {"logger", "health"}
"""Infrastructure that is never left out: anything above it may use it."""
LAYERS = {"core": 0, "infrastructure": 1, "modules": 2}
TOP = 3


def files() -> list[Path]:
    return sorted(APP_ROOT.rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the parts of each `app.…` name a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module.count(".") < 2:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (tuple(name.split(".")[1:]) for name in names if name.split(".")[0] == "app")


def layer(part: str) -> int:
    return LAYERS.get(part, TOP)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(APP_ROOT)))
def test_a_file_imports_from_its_own_layer_or_below(path: Path) -> None:
    own = path.relative_to(APP_ROOT).parts
    for parts in imported(path):
        assert layer(parts[0]) <= layer(own[0]), f"{path} imports app.{'.'.join(parts)}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(APP_ROOT)))
def test_an_optional_module_is_named_only_by_those_that_require_it(path: Path) -> None:
    own = path.relative_to(APP_ROOT).parts
    requires = {module.name: set(module.requires) for module in discover().modules}
    here = own[1] if own[0] in {"infrastructure", "modules"} and len(own) > 2 else ""
    for parts in imported(path):
        if parts[0] in {"infrastructure", "modules"} and len(parts) > 1:
            allowed = ALWAYS | {here} | requires.get(here, set())
            assert parts[1] in allowed, f"{path} imports app.{'.'.join(parts)}: declare `requires`"
