"""Commands: `app cache …`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.infrastructure.cache import operations

app = typer.Typer(name="cache", help="Look at the cache, and empty it.")

Tags = Annotated[list[str] | None, typer.Option("--tag", help="What has this tag; repeatable.")]
Prefix = Annotated[str | None, typer.Option(help="Keys that begin with these parts: user:42")]
All = Annotated[bool, typer.Option("--all", help="Everything.")]


@app.command()
def stats() -> None:
    """Show what was hit and missed, by method, in all processes of the last days."""
    typer.echo(operations.stats())


@app.command()
def clear(tag: Tags = None, prefix: Prefix = None, everything: All = False) -> None:
    """Forget entries; tokens are not concerned."""
    if bool(tag or prefix) is everything:
        message = "name a --tag or a --prefix, or say --all"
        raise typer.BadParameter(message)
    try:
        operations.clear(tag or [], prefix)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo("cleared")
