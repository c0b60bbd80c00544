"""The database of one process: engines, sessions, and how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker

from app.core.clock import Clock
from app.core.settings import AppSettings
from app.infrastructure.database.breaker import CircuitBreaker
from app.infrastructure.database.engine import build_engine
from app.infrastructure.database.replicas import ReplicaSet
from app.infrastructure.database.session import RoutedSession, remember_replicas, unit_of_work
from app.infrastructure.database.settings import DatabaseSettings


class Database:
    """The primary, its replicas, and sessions on them."""

    def __init__(
        self,
        engine: AsyncEngine,
        replicas: ReplicaSet,
        breaker: CircuitBreaker,
        connection: AsyncConnection | None = None,
    ) -> None:
        """Hold the parts.

        Args:
            engine: the primary.
            replicas: where `read_only()` reads.
            breaker: the one that guards connecting to the primary.
            connection: join its transaction instead of opening connections: tests roll it back.
        """
        self.engine = engine
        self.replicas = replicas
        self.breaker = breaker
        self._sessions = async_sessionmaker(
            bind=connection or engine,
            sync_session_class=RoutedSession,
            expire_on_commit=False,
            join_transaction_mode="create_savepoint" if connection else "conditional_savepoint",
        )

    @classmethod
    def from_settings(cls, settings: DatabaseSettings, app: AppSettings, clock: Clock) -> Database:
        """Build the engines; nothing is connected yet."""
        breaker = CircuitBreaker(
            settings.db_circuit_failures, settings.db_circuit_reset, clock.monotonic
        )
        replicas = [build_engine(url, settings, app=app) for url in settings.replica_urls]
        return cls(
            engine=build_engine(settings.url, settings, app=app, breaker=breaker),
            replicas=ReplicaSet(replicas, settings.db_replica_retry, clock.monotonic),
            breaker=breaker,
        )

    def session(self) -> AsyncSession:
        """Return a new session; connected when first used. The caller commits and closes it."""
        return remember_replicas(self._sessions(), self.replicas)

    @asynccontextmanager
    async def unit_of_work(self) -> AsyncIterator[AsyncSession]:
        """Open a session that is committed when the block ends, rolled back when it raises.

        For commands, jobs and scripts; a request gets its session by injection.
        """
        async with unit_of_work(self.session()) as session:
            yield session

    async def dispose(self) -> None:
        """Close all connections."""
        await self.engine.dispose()
        await self.replicas.dispose()
