"""`app new`: write code to start from."""

from __future__ import annotations

from typing import Annotated

import typer

new_app = typer.Typer(name="new", help="Write a feature module that works at once.")

Name = Annotated[str, typer.Argument(help="Plural, snake_case: invoices, order_lines.")]
Singular = Annotated[
    str | None, typer.Option(help="What one is called, if the guess is wrong: --singular person.")
]


@new_app.callback()
def new() -> None:
    """Write a feature module that works at once."""


@new_app.command()
def module(name: Name, singular: Singular = None) -> None:
    """Write a feature module with routes, service and tests; with tables where there is a database.

    It passes lint, types and tests as it is. Example: app new module invoices
    """
    from app.cli import scaffolding  # noqa: PLC0415 - used here only

    for path in scaffolding.write_module(name, singular):
        typer.echo(f"  {path}")
    typer.echo(f"\nNext: uv run pytest tests/modules/{name}, then make it yours.")
