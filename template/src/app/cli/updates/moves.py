"""Files the template calls otherwise now.

Copier knows no renames. Where nothing is said it removes the old file with its edits; `git mv` in a
`before` migration asks for `--trust`, and leaves a conflict wherever the template changed the file
as well, edited or not. So the template leaves the old file alone, and it is merged here, with the
file as it was rendered before as the common ancestor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app.cli.updates.git import run

LIST = "src/app/cli/moved.json"


@dataclass(frozen=True, slots=True)
class Move:
    """A file's old and new path."""

    old: str
    new: str

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.old} → {self.new}"


class Merged(StrEnum):
    """What became of a file that moved."""

    UNTOUCHED = "you had not edited it"
    CLEANLY = "with your edits"
    CONFLICT = "with conflict markers"
    KEPT = "stays: the new file is not there, or nobody knows what it was before"


def moves(folder: Path) -> list[Move]:
    """Return every move a service's template tells of; the payload itself tells of none."""
    path = folder / LIST
    if not path.exists():
        return []
    return [Move(entry["from"], entry["to"]) for entry in json.loads(path.read_text("utf-8"))]


def pending(folder: Path) -> Iterator[Move]:
    """Yield the moves whose old file is still there."""
    yield from (move for move in moves(folder) if (folder / move.old).is_file())


def merge(folder: Path, before: Path, move: Move) -> Merged:
    """Put the edits of the old file into the new one, and remove the old one.

    Args:
        folder: the service.
        before: the service as the template rendered it before the update.
        move: a pending move.
    """
    old, new, ancestor = folder / move.old, folder / move.new, before / move.old
    if not ancestor.is_file():
        return Merged.KEPT
    if old.read_bytes() == ancestor.read_bytes():
        old.unlink()
        return Merged.UNTOUCHED
    if not new.is_file():
        return Merged.KEPT
    labels = ("-L", "template", "-L", "before", "-L", "yours")
    done = run(folder, "git", "merge-file", *labels, str(new), str(ancestor), str(old))
    old.unlink()
    return Merged.CLEANLY if done.returncode == 0 else Merged.CONFLICT
