"""Where modules live on disk. Imports nothing heavy: the command line starts with this."""

from __future__ import annotations

from pathlib import Path

APP_ROOT = Path(__file__).parents[1]
SEARCHED = ("", "infrastructure", "modules")
"""Folders of `app` whose direct subfolders may be modules."""


def module_folders(root: Path = APP_ROOT, having: str = "module.py") -> list[Path]:
    """Return the module folders below `root` that hold a file called `having`, sorted."""
    found = (path.parent for place in SEARCHED for path in (root / place).glob(f"*/{having}"))
    return sorted(folder for folder in found if folder != root / "core")


def import_path(folder: Path, file: str, root: Path = APP_ROOT) -> str:
    """Return the dotted name of a file in a module folder: `app.modules.users.module`."""
    return ".".join((root.name, *folder.relative_to(root).parts, file))
