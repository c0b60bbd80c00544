"""`app env`: the settings, and what production would refuse."""

from __future__ import annotations

from typing import Annotated

import typer

env_app = typer.Typer(name="env", help="Show every setting; check those of production.")

AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
AsDotenv = Annotated[bool, typer.Option("--dotenv", help="As an .env file with every default.")]
Only = Annotated[str | None, typer.Option("--module", help="Settings of one module only.")]


@env_app.callback(invoke_without_command=True)
def env(
    context: typer.Context,
    as_json: AsJson = False,
    as_dotenv: AsDotenv = False,
    module: Only = None,
) -> None:
    """Print every setting with its default, unit and meaning. Values are not shown."""
    if context.invoked_subcommand:
        return
    from app.cli import settings  # noqa: PLC0415 - heavy

    found = settings.variables(module)
    if as_json:
        typer.echo(settings.as_json(found))
    else:
        typer.echo(settings.as_dotenv(found) if as_dotenv else settings.as_table(found))


@env_app.command()
def check() -> None:
    """Check the environment as production would, whatever APP_ENV says. Exits with 1 on a finding.

    Example: APP_ENV_FILE=production.env app env check
    """
    from app.cli import settings  # noqa: PLC0415 - heavy

    findings = settings.findings()
    for finding in findings:
        typer.echo(finding)
    if findings:
        typer.echo(f"\n{len(findings)} to mend before production.", err=True)
        raise typer.Exit(1)
    typer.echo("Ready for production.")
