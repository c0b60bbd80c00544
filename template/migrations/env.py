"""Alembic runs this file; what it does is in `app.infrastructure.database.migrations`."""

from alembic import context

from app.infrastructure.database.migrations import run_environment

run_environment(context)  # type: ignore[arg-type]  # the proxy module has the same functions
