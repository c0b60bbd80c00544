"""The `app` command."""

from app.cli.root import main

__all__ = ["main"]
