"""Commands: `app mail …`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.infrastructure.mail import operations

app = typer.Typer(name="mail", help="Send a test mail, look at templates.")

Address = Annotated[str, typer.Argument(help="Who is to get it.", show_default=False)]


@app.command()
def send_test(address: Address) -> None:
    """Send a mail as the service would, and say what came of it."""
    typer.echo(operations.send_test(address))


@app.command()
def templates() -> None:
    """List the templates of all modules, with their languages."""
    typer.echo(operations.templates())
