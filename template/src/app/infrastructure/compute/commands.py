"""Commands: `app compute …`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.infrastructure.compute import operations

app = typer.Typer(name="compute", help="Look at what runs in worker processes.")

AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@app.callback()
def group() -> None:
    """Look at what runs in worker processes."""


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """Show the methods with `@compute`, with their signatures and options."""
    typer.echo(operations.methods(as_json=as_json))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the pools of all machines, the jobs that wait, and the methods."""
    typer.echo(operations.status(as_json=as_json))
