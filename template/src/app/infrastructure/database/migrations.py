"""Migrations: Alembic, one branch per module, in `migrations/versions/<module>/`."""

from __future__ import annotations

import importlib
import io
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.core.errors import ConfigurationError
from app.core.folders import APP_ROOT, import_path, module_folders
from app.core.settings import AppSettings, SettingsBundle
from app.infrastructure.database.base import Base, UtcDateTime
from app.infrastructure.database.engine import build_engine
from app.infrastructure.database.settings import DatabaseSettings

ResultT = TypeVar("ResultT")
Use = Callable[[Connection], ResultT]

MIGRATION_LOCK = 0x506C696E7468
"""Key of the PostgreSQL advisory lock: two instances that start together migrate in turn."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """How the schema of a database compares with the migrations at hand."""

    current: frozenset[str]
    """Revisions the database is at."""
    heads: frozenset[str]
    """Revisions it should be at."""
    unknown: frozenset[str]
    """Revisions it is at that no file describes: a module was deleted, or the code is older."""

    @property
    def is_behind(self) -> bool:
        """Whether migrations are waiting."""
        return not self.heads <= self.current


def migrations_folder() -> Path:
    """Return `migrations/` of the project: beside `src`, or in the working directory.

    Raises:
        ConfigurationError: it is in neither place.
    """
    for place in (APP_ROOT.parents[1], Path.cwd()):
        if (place / "migrations" / "env.py").exists():
            return place / "migrations"
    message = "There is no migrations/ folder here: run the command in the project's own folder"
    raise ConfigurationError(message)


def import_models() -> None:
    """Import every module's `models.py`, so that `Base.metadata` knows all tables."""
    for folder in module_folders(having="models.py"):
        importlib.import_module(import_path(folder, "models"))


def alembic_config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, reading only the folders of modules that are here."""
    folder = migrations_folder()
    modules = {path.name for path in module_folders()}
    versions = [path for path in sorted((folder / "versions").glob("*")) if path.name in modules]
    # What Alembic would print is said by our commands, in our words.
    config = Config(stdout=io.StringIO(), cmd_opts=Namespace(quiet=True))
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    # Without any, Alembic would look into versions/ itself and find the deleted modules' files.
    locations = [str(path) for path in versions] or [str(folder / "versions" / "none")]
    config.set_main_option("version_locations", "\n".join(locations).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def run_environment(context: EnvironmentContext) -> None:
    """Run the migrations Alembic was asked for: all that `migrations/env.py` does."""
    connection: Connection | None = context.config.attributes.get("connection")
    if connection is None:
        message = "Use `app db ...` rather than the alembic command: it knows the connection"
        raise ConfigurationError(message)
    import_models()
    only: str | None = context.config.attributes.get("only_module")

    def include(item: Any, _name: Any, kind: str, reflected: Any, declared: Any) -> bool:
        if kind != "table":
            return True
        # A table no model declares may belong to a deleted module: never propose to drop it.
        if reflected and declared is None:
            return False
        return only is None or owner_of(item.name) == only

    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_server_default=True,
        include_object=include,
        render_item=_render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


def _render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write our column types as what they are in the database: a migration imports no app code."""
    return (
        "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False
    )


def owner_of(table: str) -> str | None:
    """Return the name of the module whose `models.py` declares a table."""
    for mapper in Base.registry.mappers:
        if getattr(mapper.local_table, "name", None) == table:
            return mapper.class_.__module__.split(".")[-2]
    return None


def schema_state(connection: Connection) -> SchemaState:
    """Compare the database with the migrations at hand."""
    script = ScriptDirectory.from_config(alembic_config())
    current = frozenset(MigrationContext.configure(connection).get_current_heads())
    known = {revision.revision for revision in script.walk_revisions()}
    # A branch others depend on is stamped by its dependants alone.
    reached = {
        revision.revision
        for head in current & known
        for revision in script.iterate_revisions(head, "base", implicit_base=True)
    }
    return SchemaState(
        current=current | reached,
        heads=frozenset(script.get_heads()),
        unknown=current - known,
    )


def refuse_unknown(state: SchemaState) -> None:
    """Stop before Alembic fails on a revision it can't find.

    Raises:
        ConfigurationError: says what to do.
    """
    if state.unknown:
        names = ", ".join(sorted(state.unknown))
        message = (
            f"The database is at {names}, which no migration here describes. Either this code is "
            "older than the database: deploy the newer one. Or a module was deleted before its "
            "branch was downgraded: put its folders back, run `app db downgrade <module>@base`, "
            "delete them again"
        )
        raise ConfigurationError(message)


def upgrade(connection: Connection, revision: str = "heads") -> None:
    """Migrate up. Waits while another process migrates the same PostgreSQL database."""
    _migrate(connection, lambda config: command.upgrade(config, revision))


def downgrade(connection: Connection, revision: str) -> None:
    """Migrate down: `users@base` takes one module's tables away, `users@-1` its last migration."""
    _migrate(connection, lambda config: command.downgrade(config, revision))


def _migrate(connection: Connection, run: Callable[[Config], None]) -> None:
    postgres = connection.dialect.name == "postgresql"
    if postgres:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
    try:
        refuse_unknown(schema_state(connection))
        connection.rollback()
        run(alembic_config(connection))
        connection.commit()
    finally:
        connection.rollback()
        if postgres:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()


async def with_connection(settings: SettingsBundle, use: Use[ResultT]) -> ResultT:
    """Open a connection made for migrations, and run `use` with it.

    No statement timeout: building an index on a large table takes what it takes.
    """
    database = settings.get(DatabaseSettings)
    patient = database.model_copy(update={"db_statement_timeout": 86_400.0})
    engine = build_engine(
        database.url, patient, app=settings.get(AppSettings), pooled=False, foreign_keys=False
    )
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(use)
    finally:
        await engine.dispose()
