"""The database module."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import partial

from dishka import AsyncContainer, Provider, Scope
from loguru import logger
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import Clock
from app.core.dev import DevStep
from app.core.errors import ConfigurationError
from app.core.events import Envelope, EventDetour, Events
from app.core.module import Module
from app.core.settings import AppSettings, SettingsBundle
from app.core.work import WorkPort
from app.infrastructure.database.database import Database
from app.infrastructure.database.errors import DatabaseUnavailableError
from app.infrastructure.database.health import DATABASE_CHECK
from app.infrastructure.database.migrations import refuse_unknown, schema_state
from app.infrastructure.database.session import (
    after_commit,
    after_current_commit,
    current_session,
    unit_of_work,
    work_state,
)
from app.infrastructure.database.settings import DatabaseSettings


def provide_database(settings: DatabaseSettings, app: AppSettings, clock: Clock) -> Database:
    """One per process."""
    return Database.from_settings(settings, app, clock)


async def provide_session(
    database: Database,
) -> AsyncGenerator[AsyncSession, BaseException | None]:
    """One per unit of work: a request, a job, a command. Committed when its scope closes well."""
    work = unit_of_work(database.session())
    session = await work.__aenter__()
    # dishka hands over what the scope ended with, instead of raising it here.
    error = yield session
    traceback = error.__traceback__ if error else None
    await work.__aexit__(type(error) if error else None, error, traceback)


provider = Provider(scope=Scope.APP)
provider.provide(provide_database)
provider.provide(provide_session, scope=Scope.REQUEST)


async def start(container: AsyncContainer) -> None:
    """Connect once, and compare the schema with the migrations.

    Raises:
        ConfigurationError: the database can't be reached; or, when deployed, its schema is behind.
    """
    database = await container.get(Database)
    try:
        async with database.engine.connect() as connection:
            state = await connection.run_sync(schema_state)
    except DatabaseUnavailableError as error:
        url = database.engine.url.render_as_string(hide_password=True)
        cause = error.__cause__ or error
        message = (
            f"The database {url} can't be reached ({type(cause).__name__}): start it, or set "
            "DATABASE_URL or the DB_* parts"
        )
        raise ConfigurationError(message) from error
    deployed = (await container.get(AppSettings)).app_env.is_deployed
    if state.is_behind and deployed:
        waiting = ", ".join(sorted(state.heads - state.current))
        message = f"The database schema is behind ({waiting}): run `app db upgrade` first"
        raise ConfigurationError(message)
    if state.is_behind:
        logger.warning("The database schema is behind: run `app db upgrade`")
    if deployed:
        refuse_unknown(state)


async def stop(container: AsyncContainer) -> None:
    """Close all connections."""
    await (await container.get(Database)).dispose()


async def take(container: AsyncContainer, envelopes: Sequence[Envelope]) -> bool:
    """Let events of the running unit of work wait for its commit, if there is one."""
    session = current_session()
    if session is None:
        return False
    after_commit(session, partial((await container.get(Events)).deliver, envelopes))
    return True


def may_lag(settings: SettingsBundle) -> bool:
    """Tell whether there are replicas."""
    return bool(settings.get(DatabaseSettings).replica_urls)


def _prepare() -> str:
    # Imported when needed: the service itself never runs migrations.
    from app.infrastructure.database import operations  # noqa: PLC0415

    return operations.prepare()


module = Module(
    name="database",
    summary="SQLAlchemy on SQLite or PostgreSQL, with migrations and seeds",
    settings=DatabaseSettings,
    providers=(provider,),
    startup=start,
    shutdown=stop,
    health_checks=(DATABASE_CHECK,),
    contributes=(
        DevStep(name="migrate and seed the database", run=_prepare),
        EventDetour(take),
        WorkPort(state=work_state, after_commit=after_current_commit, may_lag=may_lag),
    ),
)
