"""Commands: `app db …`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.infrastructure.database import operations

app = typer.Typer(name="db", help="Migrate the database and put in its first rows.")

Revision = Annotated[str, typer.Argument(help="heads, MODULE@head, MODULE@+1 or a revision.")]
Target = Annotated[str, typer.Argument(help="MODULE@base, MODULE@-1 or a revision.")]
Message = Annotated[str, typer.Option("--message", "-m", help="What the migration does.")]
Owner = Annotated[str, typer.Option("--module", help="The module whose models are compared.")]
Empty = Annotated[bool, typer.Option("--empty", help="Write an empty one to fill by hand.")]


@app.command()
def upgrade(revision: Revision = "heads") -> None:
    """Migrate up; by default every module to its newest migration."""
    operations.upgrade(revision)
    current()


@app.command()
def downgrade(revision: Target) -> None:
    """Migrate down. `users@base` takes away the tables of one module, `users@-1` one step."""
    operations.downgrade(revision)
    current()


@app.command()
def revision(message: Message, module: Owner, empty: Empty = False) -> None:
    """Write the next migration of a module from its models. Read it before you run it.

    Example: app db revision --module users -m "add a nickname"
    """
    typer.echo(f"Wrote {operations.revise(module, message, empty=empty)}")


@app.command()
def current() -> None:
    """Show where the database is, and what is waiting."""
    state = operations.state()
    for revision in sorted((state.current & state.heads) | state.unknown):
        typer.echo(f"{revision}{'  (unknown here)' if revision in state.unknown else ''}")
    for revision in sorted(state.heads - state.current):
        typer.echo(f"{revision}  (waiting: app db upgrade)")
    if not state.heads:
        typer.echo("No module has migrations.")


@app.command()
def check() -> None:
    """Exit with 1 when migrations are waiting or the models differ from them."""
    if operations.state().is_behind:
        typer.echo("Migrations are waiting: run `app db upgrade`.", err=True)
        raise typer.Exit(1)
    differences = operations.drift()
    for difference in differences:
        typer.echo(difference, err=True)
    if differences:
        typer.echo("The models differ: run `app db revision --module … -m …`.", err=True)
        raise typer.Exit(1)
    typer.echo("The schema is up to date and equals the models.")


@app.command()
def seed() -> None:
    """Put in the rows this environment starts with. Running it again adds nothing."""
    added = operations.seed()
    for name, count in added.items():
        typer.echo(f"{name}: {count} added")
    if not added:
        typer.echo("No module has seeds for this environment.")
