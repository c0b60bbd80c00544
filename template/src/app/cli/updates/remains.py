"""What an update brings back of a module that was deleted here.

Copier leaves out files that were deleted, and writes those that are new since the last update: of a
module whose folder was deleted, a part comes back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

from app.cli.updates.git import committed, names
from app.cli.updates.origin import ANSWERS, Origin

SOURCE = PurePosixPath("src/app")


@dataclass(frozen=True, slots=True)
class Remains:
    """A file of a deleted module."""

    path: str
    module: str
    """The folder that was deleted."""


def remains(source: Origin) -> list[Remains]:
    """Return what an update, not committed yet, has brought back, as the template has it.

    A file of somebody's own, in a folder that is no package yet, is not among them.
    """
    record = (source.folder / ANSWERS).read_bytes()
    found = [] if committed(source.folder, ANSWERS) == record else list(_candidates(source.folder))
    if not found:
        return []
    with source.rendered(record) as fresh:
        return [
            each
            for each in found
            if (fresh / each.path).is_file()
            and (fresh / each.path).read_bytes() == (source.folder / each.path).read_bytes()
        ]


def sweep(source: Origin) -> list[str]:
    """Remove what came back of deleted modules; return a line about each file."""
    told = []
    for each in remains(source):
        path = source.folder / each.path
        path.unlink()
        for parent in PurePosixPath(each.path).parents[:-1]:
            if any((source.folder / parent).iterdir()):
                break
            (source.folder / parent).rmdir()
        told.append(f"left out: {each.path}: you have deleted {each.module}")
    return told


def _candidates(folder: Path) -> Iterator[Remains]:
    """Yield the files of deleted modules that are there since the last commit."""
    before = names(folder, "ls-tree", "-r", "-z", "--name-only", "HEAD", ".")
    now = names(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    known = {parent for path in before for parent in PurePosixPath(path).parents}
    for path in sorted(set(now) - set(before)):
        new = takewhile(lambda parent: parent not in known, PurePosixPath(path).parents)
        deleted = (module for place in new if (module := _deleted(folder, place, known)))
        if (folder / path).is_file() and (module := next(deleted, None)):
            yield Remains(path, str(module))


def _deleted(
    folder: Path, place: PurePosixPath, known: Collection[PurePosixPath]
) -> PurePosixPath | None:
    """Return the module that was deleted, if a folder that is new belongs to one.

    Its own was not there, and is no package now: `__init__.py` is among the files left out. Another
    folder in `src` that is none holds something else, such as templates.
    """
    match place.parts:
        case ("src", "app", "modules" | "infrastructure"):
            return None
        case ("src", "app", "modules" | "infrastructure", _):
            folders = [place]
        case ("src", "app", _, *_) if any((folder / place).rglob("*.py")):
            folders = [place]
        case ("tests", ("modules" | "infrastructure") as layer, name):
            folders = [SOURCE / layer / name]
        case ("migrations", "versions", name):
            folders = [SOURCE / "modules" / name, SOURCE / "infrastructure" / name]
        case _:
            return None
    there = (each in known or (folder / each / "__init__.py").exists() for each in folders)
    return None if any(there) else folders[0]
