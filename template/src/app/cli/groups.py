"""Command groups of modules: read from their files, imported when used.

Importing every module costs half a second; showing the help needs two of its words. So name and
help are read from the syntax tree of `commands.py`, and the file is imported when its group is run.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from app.core.errors import ConfigurationError
from app.core.folders import import_path, module_folders

COMMANDS = "commands.py"


@dataclass(frozen=True, slots=True)
class Declared:
    """A command group as its file declares it."""

    name: str
    help: str
    target: str
    """Dotted name of the file."""
    attribute: str
    """What it is called in there."""


def declared_groups(folders: list[Path] | None = None) -> Iterator[Declared]:
    """Yield the groups of each module that has a `commands.py`.

    Raises:
        ConfigurationError: the file has no `typer.Typer(name=..., help=...)` with literal texts.
    """
    for folder in module_folders(having=COMMANDS) if folders is None else folders:
        path = folder / COMMANDS
        found = dict(_typers(ast.parse(path.read_text(encoding="utf-8"))))
        if not found or any(words.keys() < {"name", "help"} for words in found.values()):
            message = f'{path} must hold app = typer.Typer(name="...", help="...") in literals'
            raise ConfigurationError(message)
        target = import_path(folder, "commands")
        for attribute, words in found.items():
            yield Declared(words["name"], words["help"], target, attribute)


def _typers(tree: ast.Module) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield name and literal keyword arguments of each `… = typer.Typer(...)` of a file."""
    for node in tree.body:
        call = getattr(node, "value", None)
        if not (isinstance(node, ast.Assign) and isinstance(call, ast.Call)):
            continue
        if ast.unparse(call.func) in {"typer.Typer", "Typer"}:
            yield ast.unparse(node.targets[0]), dict(_literals(call))


def _literals(call: ast.Call) -> Iterator[tuple[str, str]]:
    for word in call.keywords:
        if word.arg and isinstance(word.value, ast.Constant) and isinstance(word.value.value, str):
            yield word.arg, word.value.value


class LazyGroup(TyperGroup):
    """Stands for a module's group until it is used."""

    def __init__(self, declared: Declared) -> None:
        """Know the name and the help only."""
        super().__init__(name=declared.name, help=declared.help)
        self._declared = declared

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Import the module, and let its group take over from here."""
        declared = self._declared
        app: typer.Typer = getattr(importlib.import_module(declared.target), declared.attribute)
        # A callback keeps Typer from flattening a group of one command.
        if app.registered_callback is None:
            app.callback(no_args_is_help=True)(lambda: None)
        return get_group(app).make_context(*args, **options)


class RootGroup(TyperGroup):
    """The `app` command: its own commands, and the groups of the modules."""

    def __init__(self, *args: object, **options: object) -> None:
        """Add the modules' groups."""
        super().__init__(*args, **options)  # type: ignore[arg-type]  # passed on as they are
        for declared in declared_groups():
            self.commands[declared.name] = LazyGroup(declared)
