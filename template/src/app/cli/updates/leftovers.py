"""What an update leaves behind. Copier ends with 0 whatever it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.cli.updates.git import committed, git, names, run
from app.cli.updates.moves import Move, moves, pending
from app.cli.updates.origin import ANSWERS, Origin
from app.cli.updates.remains import Remains, remains

MARKER = r"^(<{7}|>{7}) "
"""A line git or Copier puts where both sides changed the same."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What is to be looked at."""

    conflicts: list[str]
    """`path:line` of each marker."""
    rejected: list[str]
    """Files of hunks that found no place."""
    moved: list[Move]
    """Files that moved and whose old path is still there."""
    gone: list[str]
    """Files that were edited here and that the update removed."""
    back: list[Remains]
    """Files that are new in a module that was deleted here."""

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.conflicts or self.rejected or self.moved or self.gone or self.back)

    def lines(self) -> list[str]:
        """Return it for people, each with what to do."""
        found = [f"conflict: {place}: choose, and remove the markers" for place in self.conflicts]
        found += [f"rejected: {path}: put it in by hand, then delete it" for path in self.rejected]
        found += [f"moved: {move}: run `app template check --merge`" for move in self.moved]
        found += [
            f"gone: {path}: you had edited it; `git restore {path}` brings it back"
            for path in self.gone
        ]
        return found + [
            f"back: {each.path}: you have deleted {each.module}: run `app template check --merge`"
            for each in self.back
        ]


def markers(folder: Path) -> list[str]:
    """Return `path:line` of each conflict marker, in files git does not ignore."""
    words = ["grep", "--untracked", "-nIE", "-e", MARKER, "--", "."]
    found = run(folder, "git", *words).stdout.splitlines()
    return [":".join(line.split(":", 2)[:2]) for line in found]


def rejected(folder: Path) -> list[str]:
    """Return the files of rejected hunks, ignored ones as well."""
    return names(folder, "ls-files", "-z", "--cached", "--others", "--", "*.rej", ":!.venv")


def removed(folder: Path) -> list[str]:
    """Return the files of the last commit that are no longer there."""
    return names(folder, "diff", "-z", "--name-only", "--diff-filter=D", "--relative", "HEAD")


def gone(source: Origin) -> list[str]:
    """Return the files that were edited here and that an update, not committed yet, removed."""
    record = committed(source.folder, ANSWERS)
    elsewhere = {move.old for move in moves(source.folder)}
    missing = [path for path in removed(source.folder) if path not in elsewhere]
    if record is None or not missing or (source.folder / ANSWERS).read_bytes() == record:
        return []
    with source.rendered(record) as before:
        return [
            path
            for path in missing
            if (before / path).is_file()
            and (before / path).read_bytes() != committed(source.folder, path)
        ]


def leftovers(source: Origin) -> Leftovers:
    """Look for everything."""
    folder = source.folder
    moved = list(pending(folder))
    return Leftovers(markers(folder), rejected(folder), moved, gone(source), remains(source))


def summary(folder: Path) -> dict[str, list[str]]:
    """Return the files an update, not committed yet, changed, added and removed."""
    status = git(folder, "status", "--porcelain", "-z", "--no-renames", "-uall", "--", ".")
    kinds: dict[str, list[str]] = {"changed": [], "added": [], "removed": []}
    for entry in filter(None, status.split("\0")):
        kind = "added" if entry[:2] == "??" else "removed" if "D" in entry[:2] else "changed"
        kinds[kind].append(entry[3:])
    return kinds
