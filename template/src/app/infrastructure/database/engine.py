"""Engines: connections with a timeout, behind a circuit breaker, quirks of drivers mended."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    AsyncAdaptedQueuePool,
    Connection,
    NullPool,
    PoolProxiedConnection,
    event,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import PoolResetState

from app.core.errors import AppError
from app.core.settings import AppSettings
from app.infrastructure.database.breaker import CircuitBreaker
from app.infrastructure.database.errors import (
    RETRY_SOON,
    DatabaseUnavailableError,
    replace_driver_error,
)
from app.infrastructure.database.settings import DatabaseSettings

QUIET = {
    "aiosqlite": logging.INFO,  # below: the parameters of every statement
    "alembic": logging.WARNING,
    "sqlalchemy.pool": logging.WARNING,
    f"{__name__}.Pool": logging.WARNING,
}
"""Loggers that say what nobody asked for, unless `LOG_LEVELS` asks."""

for _name, _level in QUIET.items():
    if logging.getLogger(_name).level == logging.NOTSET:
        logging.getLogger(_name).setLevel(_level)


class Pool(AsyncAdaptedQueuePool):
    """A pool that is exhausted is the service's error, not a server error."""

    def connect(self) -> PoolProxiedConnection:
        """Return a connection.

        Raises:
            DatabaseUnavailableError: none became free within `DB_POOL_TIMEOUT`.
        """
        try:
            return super().connect()
        except PoolTimeoutError as error:
            message = "All database connections are in use."
            raise DatabaseUnavailableError(message, headers=dict(RETRY_SOON)) from error


def build_engine(  # noqa: PLR0913 - each is one choice of the caller
    url: URL,
    settings: DatabaseSettings,
    *,
    app: AppSettings,
    breaker: CircuitBreaker | None = None,
    pooled: bool = True,
    foreign_keys: bool = True,
) -> AsyncEngine:
    """Return an engine; nothing is connected yet.

    Args:
        url: SQLite through aiosqlite, or PostgreSQL through asyncpg.
        settings: pool sizes and timeouts.
        app: its name is what PostgreSQL shows in `pg_stat_activity`.
        breaker: asked before each new connection.
        pooled: False opens a connection per use, for short-lived commands.
        foreign_keys: False lets SQLite migrations rebuild tables others refer to.
    """
    sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {
        "connect_args": _sqlite_arguments(settings)
        if sqlite
        else _postgres_arguments(settings, app),
        "echo": settings.db_echo,
        "hide_parameters": True,
    }
    if pooled and not _in_memory(url):
        options |= {
            "poolclass": Pool,
            "pool_size": settings.db_pool_size,
            "max_overflow": settings.db_pool_overflow,
            "pool_timeout": settings.db_pool_timeout,
            "pool_recycle": settings.db_pool_recycle,
            "pool_pre_ping": not sqlite,
        }
    elif not pooled:
        options["poolclass"] = NullPool
    if sqlite and url.database and not _in_memory(url):
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(url, **options)
    event.listen(engine.sync_engine, "handle_error", replace_driver_error)
    _guard_connecting(engine, breaker)
    if sqlite:
        _mend_sqlite(engine, foreign_keys=foreign_keys)
    return engine


def _in_memory(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}


def _sqlite_arguments(settings: DatabaseSettings) -> dict[str, Any]:
    return {"timeout": settings.db_statement_timeout}


def _postgres_arguments(settings: DatabaseSettings, app: AppSettings) -> dict[str, Any]:
    return {
        "timeout": settings.db_connect_timeout,
        # The client gives up a little later than the server, which then frees the connection.
        "command_timeout": settings.db_statement_timeout + 1,
        "server_settings": {
            "application_name": app.app_name,
            "statement_timeout": f"{settings.db_statement_timeout * 1000:.0f}",
            "timezone": "UTC",
        },
    }


def _guard_connecting(engine: AsyncEngine, breaker: CircuitBreaker | None) -> None:
    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(dialect: Any, _record: Any, cargs: Any, cparams: Any) -> Any:
        if breaker:
            breaker.before()
        try:
            connection = dialect.connect(*cargs, **cparams)
        except Exception as error:
            if breaker:
                breaker.failed()
            if isinstance(error, AppError):
                raise
            raise DatabaseUnavailableError(headers=dict(RETRY_SOON)) from error
        except BaseException:
            if breaker:
                breaker.abandoned()
            raise
        if breaker:
            breaker.succeeded()
        return connection


def _mend_sqlite(engine: AsyncEngine, *, foreign_keys: bool) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver would start transactions only before writes, which breaks savepoints and
        # repeatable reads (SQLAlchemy, "SQLite dialect, serializable isolation").
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        # Readers go on while one writes. NORMAL is durable against a crash of the process.
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "reset")
    def reset(connection: Any, _record: Any, state: PoolResetState) -> None:
        # After a COMMIT that failed there is still a transaction, though SQLAlchemy sees none: it
        # would keep all others from writing.
        if state.asyncio_safe and connection.driver_connection.in_transaction:
            connection.rollback()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")
