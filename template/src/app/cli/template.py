"""`app template`: the template this service was made from, and its later releases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

template_app = typer.Typer(
    name="template",
    help="Keep the service up to date with the template it was made from.",
    no_args_is_help=True,
)

To = Annotated[
    str | None,
    typer.Option(metavar="RELEASE", help="Instead of the newest: v1.2.0, a branch, a commit."),
]
Data = Annotated[
    list[str] | None,
    typer.Option(metavar="QUESTION=ANSWER", help="Answer a question; may be repeated."),
]
Clone = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="A clone of the template, to work offline."),
]
Check = Annotated[
    list[str] | None,
    typer.Option(help="Run this afterwards instead of uv sync, prek and pytest; may be repeated."),
]
Checks = Annotated[bool, typer.Option(help="Run the service's checks afterwards.")]
Merge = Annotated[
    bool,
    typer.Option(
        help="Merge your edits of files that moved; remove what is back of deleted modules."
    ),
]


@template_app.command()
def status(to: To = None, data: Data = None, clone: Clone = None) -> None:
    """Show the release in use, the newest, and what an update would do. Changes nothing.

    The update is tried in a copy of what is committed, so its conflicts are the real ones.
    """
    from app.cli.updates import operations  # noqa: PLC0415 - used here only

    operations.status(to, data or [], clone)


@template_app.command()
def update(
    to: To = None,
    data: Data = None,
    clone: Clone = None,
    checks: Checks = True,
    check: Check = None,
) -> None:
    """Update to the newest release, and say what to look at. Never commits.

    Exits with 1 when something is left to mend or a check fails.
    `git restore --staged --worktree . && git clean -fd` takes everything back.
    """
    from app.cli.updates import operations  # noqa: PLC0415 - used here only

    commands = (check or list(operations.CHECKS)) if checks else []
    if not operations.update(to, data or [], clone, commands):
        raise typer.Exit(1)


@template_app.command("check")
def look(merge: Merge = False, clone: Clone = None) -> None:
    """Look for what an update left: markers, rejected hunks, files that moved or are gone or back.

    Exits with 1 on a finding.
    """
    from app.cli.updates import operations  # noqa: PLC0415 - used here only

    if not operations.check(clone, merge=merge):
        raise typer.Exit(1)
