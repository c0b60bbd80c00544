"""Commands: `app relay`, and `app outbox …`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from app.infrastructure.outbox import operations

relay = typer.Typer(name="relay", help="Publish what a crash left in the outbox, until Ctrl-C.")
app = typer.Typer(
    name="outbox", help="Look at jobs and events that are committed and not yet published."
)

Ids = Annotated[list[UUID] | None, typer.Argument(help="Ids of rows.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All dead rows.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]


@relay.callback(invoke_without_command=True)
def run() -> None:
    """Publish what a crash left in the outbox, until Ctrl-C.

    Workers do so by themselves; this is for services whose workers have no database.
    """
    operations.run()


@app.command()
def status() -> None:
    """Show how many jobs and events wait, since when, and how many are dead."""
    typer.echo(operations.status())


@app.command()
def dead(limit: Limit = 50) -> None:
    """List what could not be published, with the reason; the newest first."""
    typer.echo(operations.dead(limit))


@app.command()
def replay(ids: Ids = None, every: All = False) -> None:
    """Have the relay try dead rows again: those of the ids, or all."""
    if bool(ids) is every:
        message = "name ids, or say --all"
        raise typer.BadParameter(message)
    typer.echo(f"{operations.replay(ids)} to be published again")


@app.command()
def purge() -> None:
    """Delete published rows and keys that were kept long enough, as the relay does."""
    typer.echo(f"{operations.purge()} deleted")
