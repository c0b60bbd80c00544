"""The root command. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from app.cli.env import env_app
from app.cli.groups import RootGroup
from app.cli.new import new_app
from app.cli.template import template_app
from app.core.errors import AppError, ConfigurationError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000

app = typer.Typer(
    cls=RootGroup,
    name="app",
    help="Run and look after the service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(env_app)
app.add_typer(new_app)
app.add_typer(template_app)

Host = Annotated[str, typer.Option(envvar="HOST", help="Address to listen on.")]
Port = Annotated[
    int, typer.Option(envvar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")
]
Workers = Annotated[
    int, typer.Option(envvar="WEB_WORKERS", min=1, help="Processes that share the port.")
]
Prepare = Annotated[bool, typer.Option(help="Migrate and seed before the start.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@app.command()
def dev(host: Host = DEFAULT_HOST, port: Port = DEFAULT_PORT, prepare: Prepare = True) -> None:
    """Run for development: embedded parts, readable log, reload when a file changes.

    Migrates and seeds the development database first.
    """
    from app.cli import running  # noqa: PLC0415 - heavy

    running.refuse_deployed()
    if prepare:
        running.prepare()
    running.serve(host, port, reload=True)


@app.command()
def serve(host: Host = DEFAULT_HOST, port: Port = DEFAULT_PORT, workers: Workers = 1) -> None:
    """Run as in production: no reload. Ends on SIGTERM or Ctrl-C without failing a request."""
    from app.cli import running  # noqa: PLC0415 - heavy

    running.serve(host, port, workers=workers)


@app.command()
def modules(as_json: AsJson = False) -> None:
    """Show the modules in the order they start, what they require and what they add."""
    from app.cli import listing  # noqa: PLC0415 - heavy

    typer.echo(listing.as_json() if as_json else listing.as_table())


def main() -> None:
    """Run the command line; errors of configuration end it with one message and code 1."""
    try:
        app()
    except (ConfigurationError, AppError) as error:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(1)
