"""Commands: `app limiter …`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.infrastructure.rate_limiter import operations

app = typer.Typer(name="limiter", help="Look at rate limits, forget counts, see them work.")

Caller = Annotated[
    str | None, typer.Argument(help="As `list` shows it: address=192.0.2.1.", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="Of all callers.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
Url = Annotated[
    str | None,
    typer.Option("--url", help="Of a service that runs, instead of one of its own."),
]
Requests = Annotated[int, typer.Option("--requests", min=1, help="How many to send.")]


@app.command()
def routes() -> None:
    """List every route with the limits that hold for it."""
    typer.echo(operations.routes())


@app.command("list")
def list_counters(limit: Limit = 100) -> None:
    """List what is counted at the moment: caller, limit, what is left."""
    typer.echo(operations.counters(limit))


@app.command()
def reset(caller: Caller = None, every: All = False) -> None:
    """Forget what was counted: of one caller, or of all."""
    if (caller is None) is not every:
        message = "name a caller, or say --all"
        raise typer.BadParameter(message)
    typer.echo(f"{operations.reset(caller)} forgotten")


@app.command()
def demo(url: Url = None, requests: Requests = 55) -> None:
    """Send 55 requests where 50 a minute are allowed: 50 times 200, 5 times 429.

    Starts the service on a free port for it, with that limit on /health/live and counters of its
    own.
    """
    typer.echo(operations.demo(url, requests))
