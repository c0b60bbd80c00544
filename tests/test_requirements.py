"""What the payload imports is what it declares, group by group, and nothing more."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.rendering import PARTS, ROOT

PAYLOAD = ROOT / "template"
REQUIREMENTS = ROOT / "includes/requirements"
BUILDS_ON = {
    "users": ("database",),
    "rate_limiter": ("redis",),
    "cache": ("redis",),
    "queue": ("redis",),
    "deferred": ("queue",),
    "outbox": ("database", "queue"),
    "welcome": ("database",),
    "compute": ("redis", "queue", "deferred"),
    "event_bus_redis": ("redis",),
    "websockets": ("redis",),
    "event_bus_rabbitmq": ("redis", "queue", "rabbitmq"),
    "storage": ("objects",),
    "avatars": ("database",),
    "thumbnails": ("database", "avatars"),
}
"""Modules that declare `requires` on another: they may import what it brings."""
NOT_IMPORTED = {
    "aiosqlite": "SQLAlchemy loads it by the URL",
    "asyncpg": "SQLAlchemy loads it by the URL",
    "email-validator": "pydantic's EmailStr loads it",
    "import-linter": "a command",
    "mypy": "a command",
    "orjson": "python-json-logger and FastAPI load it",
    "prek": "a command",
    "ruff": "a command",
    "types-croniter": "types for mypy",
    "bullmq": "its scripts are read as files",
    "tzdata": "data, for systems that have none",
}
"""Declared packages no file of the payload imports, each with its reason."""


def declared(*groups: str) -> set[str]:
    """Return the names of the packages those groups list."""
    paths = [REQUIREMENTS / f"{group}.txt" for group in groups]
    lines = [
        line for path in paths if path.exists() for line in path.read_text("utf-8").split("\n")
    ]
    return {canonicalize_name(Requirement(line).name) for line in lines if line}


ELSEWHERE = {("quick_copier.py", "jinja2"), ("quick_copier.py", "copier")}
"""Imports of programs that the interpreter of another environment runs: Copier's."""


def groups_for(path: Path) -> list[str]:
    """Return the groups a file of the payload may import from."""
    place, *rest = path.relative_to(PAYLOAD).parts
    parts = rest[1:] if place == "src" else rest
    module = parts[1] if parts[0] in {"infrastructure", "modules"} and len(parts) > 2 else ""
    module = "database" if place == "migrations" else module
    engine = parts[2] if module == "queue" and len(parts) > 3 else ""
    groups = ["base", *BUILDS_ON.get(module, ()), module, engine]
    # A pytest plugin of a module is loaded by tests only.
    if place == "tests" or path.name == "testing.py":
        groups += ["dev", *(f"dev-{group}" for group in groups)]
    # A module that runs an embedded part imports it where it is installed, in development.
    return [*groups, f"dev-{module}"]


@cache
def distributions() -> Mapping[str, list[str]]:
    """Return which distributions bring an importable name."""
    return {**packages_distributions(), "pydantic_core": ["pydantic"]}


def imported(path: Path) -> Iterator[str]:
    """Yield the distributions a file imports, wherever in it."""
    found = distributions()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            names = [str(word.value) for word in node.args if isinstance(word, ast.Constant)]
        for name in names:
            top = name.split(".")[0]
            if top not in {*sys.stdlib_module_names, "app", "tests"}:
                yield canonicalize_name(found.get(top, [top])[0])


def sources() -> list[Path]:
    """Return the Python files of the payload."""
    assert "template" in PARTS
    folders = [PAYLOAD / name for name in ("src", "tests", "migrations")]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def test_every_import_is_declared() -> None:
    """In the group of its module, so that a service without the module still has what it needs."""
    missing = {
        f"{path.relative_to(PAYLOAD)}: {name}"
        for path in sources()
        for name in imported(path)
        if name not in declared(*groups_for(path)) and (path.name, name) not in ELSEWHERE
    }
    assert missing == set()


@pytest.mark.parametrize("group", sorted(path.stem for path in REQUIREMENTS.glob("*.txt")))
def test_every_declared_package_is_imported(group: str) -> None:
    """Or has a reason not to be."""
    used = {name for path in sources() for name in imported(path)}
    assert declared(group) - used - NOT_IMPORTED.keys() == set()
