"""Commands: `app deferred …`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.infrastructure.deferred import operations

app = typer.Typer(name="deferred", help="Look at what can be called later.")

AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@app.callback()
def group() -> None:
    """Look at what can be called later."""


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """Show the classes `run_later` may call, by name, with the signatures of their methods."""
    typer.echo(operations.as_json() if as_json else operations.as_text())
