"""What `app dev` and `app serve` do."""

from __future__ import annotations

import errno
import os
import socket
import time

import typer

from app.api import server
from app.core.dev import DevStep
from app.core.discovery import discover
from app.core.errors import ConfigurationError
from app.core.settings import AppSettings, load_settings
from app.infrastructure.logger import configure_logging


def refuse_deployed() -> None:
    """Keep `app dev` away from production.

    Raises:
        ConfigurationError: `APP_ENV` is staging or production.
    """
    app_env = load_settings(discover().modules).get(AppSettings).app_env
    if app_env.is_deployed:
        message = f"app dev is for development, and APP_ENV is {app_env}: use `app serve`"
        raise ConfigurationError(message)


def prepare() -> None:
    """Run the modules' development steps, each with its outcome and duration."""
    configure_logging()
    for step in discover().contributions(DevStep):
        started = time.perf_counter()
        typer.echo(f"{step.name} … ", nl=False)
        outcome = step.run()
        typer.echo(f"{outcome} ({time.perf_counter() - started:.1f} s)")


def serve(host: str, port: int, *, workers: int = 1, reload: bool = False) -> None:
    """Listen, and say where.

    Raises:
        ConfigurationError: the address can't be listened on.
    """
    # `app dev` is one process: it does the jobs as well.
    os.environ.setdefault("APP_ROLE", "all" if reload else "api")
    configure_logging()
    refuse_taken(host, port)
    if port:
        shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
        # Not to standard output, which may be a stream of JSON lines.
        typer.echo(f"http://{shown}:{port}  ·  /docs  ·  /health/ready", err=True)
    server.serve(host=host, port=port, workers=workers, reload=reload)


def refuse_taken(host: str, port: int) -> None:
    """Find out whether the address is free before anything starts.

    Raises:
        ConfigurationError: it is not; names the way out.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                message = f"Port {port} is in use: stop what uses it, or choose --port {port + 1}"
            else:
                message = f"Can't listen on {host}:{port}: {error.strerror}"
            raise ConfigurationError(message) from error
