"""Find the modules: a folder with a `module.py` is one, nothing else names it."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from app.core.errors import ConfigurationError
from app.core.folders import APP_ROOT, import_path, module_folders
from app.core.module import Module
from app.core.ordering import order_modules

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Registry:
    """The modules of this service, in the order they start."""

    modules: tuple[Module, ...]

    def contributions(self, kind: type[T]) -> tuple[T, ...]:
        """Return everything any module contributes that is a `kind`, in start order."""
        return tuple(
            item for module in self.modules for item in module.contributes if isinstance(item, kind)
        )

    def has(self, name: str) -> bool:
        """Tell whether a module of that name is part of this service."""
        return any(module.name == name for module in self.modules)


def import_module_folder(folder: Path, root: Path = APP_ROOT) -> Module:
    """Import the `module.py` of one folder.

    Raises:
        ConfigurationError: it defines no `module`, or one whose name is not the folder's.
    """
    dotted = import_path(folder, "module", root)
    module = getattr(importlib.import_module(dotted), "module", None)
    if not isinstance(module, Module):
        message = f"{dotted} must define `module = Module(...)`"
        raise ConfigurationError(message)
    if module.name != folder.name:
        message = f"{dotted} is called {module.name!r}: name it {folder.name!r}, after its folder"
        raise ConfigurationError(message)
    return module


@cache
def discover() -> Registry:
    """Import every module of the service and order them by what they require.

    Raises:
        ConfigurationError: a missing requirement, a cycle, or two modules of one name.
    """
    with without_collection():
        return Registry(order_modules([import_module_folder(f) for f in module_folders()]))


@contextmanager
def without_collection() -> Iterator[None]:
    """Let the garbage collector leave alone what is imported: hardly any of it is ever garbage.

    It would look through all of it again and again: a seventh of the time a process takes to
    start, and a tenth of a second each time it looks at everything while the service runs.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
