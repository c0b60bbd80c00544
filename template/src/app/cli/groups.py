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

import typer
from typer.core import TyperGroup
from typer.main import get_command

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


def declared_groups(folders: list[Path] | None = None) -> Iterator[Declared]:
    """Yield the group of each module that has a `commands.py`.

    Raises:
        ConfigurationError: the file has no `typer.Typer(name=..., help=...)` with literal texts.
    """
    for folder in module_folders(having=COMMANDS) if folders is None else folders:
        path = folder / COMMANDS
        words = _words(ast.parse(path.read_text(encoding="utf-8")))
        if words.keys() < {"name", "help"}:
            message = f'{path} must hold app = typer.Typer(name="...", help="...") in literals'
            raise ConfigurationError(message)
        yield Declared(words["name"], words["help"], import_path(folder, "commands"))


def _words(tree: ast.Module) -> dict[str, str]:
    """Return the literal keyword arguments of the first `typer.Typer(...)` of a file."""
    for node in tree.body:
        call = getattr(node, "value", None)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"typer.Typer", "Typer"}:
            return {
                word.arg: word.value.value
                for word in call.keywords
                if word.arg
                and isinstance(word.value, ast.Constant)
                and isinstance(word.value.value, str)
            }
    return {}


class LazyGroup(TyperGroup):
    """Stands for a module's group until it is used."""

    def __init__(self, declared: Declared) -> None:
        """Know the name and the help only."""
        super().__init__(name=declared.name, help=declared.help, no_args_is_help=True)
        self._target = declared.target
        self._loaded: TyperGroup | None = None

    def _group(self) -> TyperGroup:
        if self._loaded is None:
            app: typer.Typer = importlib.import_module(self._target).app
            # A callback keeps Typer from flattening a group of one command.
            if app.registered_callback is None:
                app.callback()(lambda: None)
            loaded = get_command(app)
            if not isinstance(loaded, TyperGroup):  # pragma: no cover - see above
                raise TypeError(loaded)
            self._loaded = loaded
        return self._loaded

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # Typer's context is click's
        """Import the module and list its commands."""
        return self._group().list_commands(ctx)

    def get_command(self, ctx: typer.Context, cmd_name: str):  # type: ignore[no-untyped-def,override]  # noqa: ANN201 - click's types
        """Import the module and return one of its commands."""
        return self._group().get_command(ctx, cmd_name)


class RootGroup(TyperGroup):
    """The `app` command: its own commands, and the groups of the modules."""

    def __init__(self, *args: object, **options: object) -> None:
        """Add the modules' groups."""
        super().__init__(*args, **options)  # type: ignore[arg-type]  # passed on as they are
        for declared in declared_groups():
            self.commands[declared.name] = LazyGroup(declared)
