"""Commands: `app events …`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.infrastructure.event_bus import operations

app = typer.Typer(name="events", help="Look at events and their handlers; have them handled again.")

Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids of dead events.", show_default=False)]
From = Annotated[
    str,
    typer.Option(
        "--from",
        help="The id of the event before the first; 0: all that are kept.",
        show_default=False,
    ),
]
To = Annotated[str, typer.Option("--to", help="The id of the last one.", show_default=False)]
Pattern = Annotated[str, typer.Option("--event", help="Only those, such as 'user.*'.")]
Handlers = Annotated[
    list[str] | None,
    typer.Option("--handler", help="Only this handler, as `list` shows it; may be repeated."),
]
Dead = Annotated[bool, typer.Option("--dead", help="All dead events.")]


@app.command("list")
def list_handlers() -> None:
    """List the handlers: what they are for, and how they are called."""
    typer.echo(operations.handlers())


@app.command()
def dead(limit: Limit = 50) -> None:
    """List events a handler could not deal with, with the reason; the newest first."""
    typer.echo(operations.dead(limit))


@app.command()
def replay(
    ids: Ids = None,
    every: Dead = False,
    begin: From = "",
    last: To = "",
    event: Pattern = "#",
    handler: Handlers = None,
) -> None:
    """Have events handled again, in this process.

    Dead ones, by their ids or with --dead: by the handler that could not. Or any that are kept,
    with --from: by all handlers, or those that are named. Handlers see the same `Envelope.id`.
    """
    if sum((bool(ids), every, bool(begin))) != 1:
        message = "name ids of dead events, or say --dead, or --from ID"
        raise typer.BadParameter(message)
    if begin:
        chosen = operations.Chosen(begin, last, event, frozenset(handler or ()))
        typer.echo(operations.replay(chosen))
    else:
        typer.echo(f"{operations.revive(ids)} handled")
