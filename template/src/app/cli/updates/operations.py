"""What `app template` does."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from app.cli.updates.git import committed, git, refuse_changes, take_back
from app.cli.updates.leftovers import Leftovers, leftovers, summary
from app.cli.updates.moves import Merged, merge, pending
from app.cli.updates.origin import ANSWERS, Origin, answers, origin
from app.cli.updates.remains import sweep
from app.core.errors import ConfigurationError

WAY_BACK = "git restore --staged --worktree . && git clean -fd"
CHECKS = ("uv sync", "uv run prek run --all-files", "uv run pytest")
"""What a change of the service has to pass."""
BEHAVIOUR = re.compile(r"^    (?:\d+\.\d+\.\d+|unreleased): .*(?:\n {8}.*)*", re.MULTILINE)
"""How the template's message tells of a changed behaviour."""
SHOWN = 12
"""Names of files in a list for people."""


def status(to: str | None, data: Sequence[str], clone: Path | None) -> None:
    """Print releases, and what an update would do, tried in a copy."""
    source = origin(Path.cwd(), clone)
    versions = source.versions()
    typer.echo(f"Template: {source.source}")
    typer.echo(f"In use:   {versions.current}")
    typer.echo(f"Newest:   {versions.newest}")
    if not (versions.available or to or data):
        typer.echo("\nNothing to do.")
        return
    with tempfile.TemporaryDirectory(prefix="template-") as temporary:
        copy = _copied(source, Path(temporary) / "service")
        printed = _take_in(copy, to, data)
        merged = _tidy(copy)
        typer.echo(f"\nAn update to {to or versions.newest}, tried in a copy of the last commit:")
        _tell(copy, printed, merged)
        typer.echo()
        _tell_leftovers(leftovers(copy))
    typer.echo("\nNothing was changed. Next: app template update")


def update(to: str | None, data: Sequence[str], clone: Path | None, checks: Sequence[str]) -> bool:
    """Update, look for what is left, run the checks; tell whether nothing is left to mend.

    Raises:
        ConfigurationError: something is not committed, or Copier fails; nothing was changed.
    """
    source = origin(Path.cwd(), clone)
    refuse_changes(source.folder)
    try:
        printed = _take_in(source, to, data)
    except BaseException:
        # Edits may be missing under the new record: no later look can tell it from a whole update.
        try:
            take_back(source.folder)
        except ConfigurationError as error:
            typer.echo(f"The folder is half updated: {error}\nThen: {WAY_BACK}", err=True)
        else:
            typer.echo("Taken back: nothing was changed.", err=True)
        raise
    merged = _tidy(source)
    _tell(source, printed, merged)
    left = leftovers(source)
    typer.echo()
    _tell_leftovers(left)
    failed = [] if left.conflicts or left.rejected else _failing(checks, source.folder)
    if checks and (left.conflicts or left.rejected):
        typer.echo("\nThe checks can't pass like this. When you are done: app template check")
    for command in failed:
        typer.echo(f"failed: {command}")
    typer.echo("\nNothing is committed: look at `git diff`, then commit it as one change.")
    return not (left or failed)


def check(clone: Path | None, *, merge: bool) -> bool:
    """Look for what an update left; tell whether there is nothing."""
    source = origin(Path.cwd(), clone)
    for line in _tidy(source) if merge else ():
        typer.echo(line)
    left = leftovers(source)
    _tell_leftovers(left)
    return not left


def _copied(source: Origin, target: Path) -> Origin:
    """Clone what is committed, to try something in.

    Raises:
        ConfigurationError: the service is not in the last commit.
    """
    if committed(source.folder, ANSWERS) is None:
        message = "Commit the service first: an update is tried in a copy of the last commit"
        raise ConfigurationError(message)
    top = Path(git(source.folder, "rev-parse", "--show-toplevel").strip())
    git(source.folder, "clone", "--quiet", str(top), str(target))
    return replace(source, folder=target / source.folder.resolve().relative_to(top.resolve()))


def _take_in(source: Origin, to: str | None, data: Sequence[str]) -> str:
    """Run Copier's update; return what it prints."""
    release = ["--vcs-ref", to] if to else []
    return source.copier("update", "--defaults", *release, *answers(data))


def _tidy(source: Origin) -> list[str]:
    """Do what Copier leaves to be done; return a line about each file."""
    return _merge_moved(source) + sweep(source)


def _merge_moved(source: Origin) -> list[str]:
    """Merge every file that moved; return a line about each."""
    waiting = list(pending(source.folder))
    record = source.record_before() if waiting else None
    if record is None:
        return [f"moved: {move}: {Merged.KEPT}" for move in waiting]
    with source.rendered(record) as before:
        return [f"moved: {move}: {merge(source.folder, before, move)}" for move in waiting]


def _tell(source: Origin, printed: str, merged: Sequence[str]) -> None:
    """Print what an update changed."""
    for kind, paths in summary(source.folder).items():
        if paths:
            shown = ", ".join(paths[:SHOWN]) + (" …" if len(paths) > SHOWN else "")
            typer.echo(f"\n{len(paths)} {kind}: {shown}")
    if behaviour := BEHAVIOUR.findall(printed):
        typer.echo("\nWorks otherwise now:")
        typer.echo("\n".join(behaviour))
    if merged:
        typer.echo()
        typer.echo("\n".join(merged))


def _tell_leftovers(left: Leftovers) -> None:
    typer.echo("\n".join(left.lines()) if left else "No conflict, and nothing of yours is gone.")


def _failing(checks: Sequence[str], folder: Path) -> list[str]:
    """Run commands one after the other; return the first that fails."""
    for command in checks:
        typer.echo(f"\n$ {command}")
        if subprocess.run(shlex.split(command), cwd=folder, check=False).returncode != 0:  # noqa: S603 - as the caller says
            return [command]
    return []
