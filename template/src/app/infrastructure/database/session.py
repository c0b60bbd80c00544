"""Sessions: one per unit of work, routed to the primary or a replica."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Engine, UpdateBase
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.core.errors import AppError
from app.infrastructure.database.errors import ReadOnlyError, translate

AfterCommit = Callable[[], Awaitable[None] | None]

_REPLICA = "replica"
_SAVEPOINTS = "savepoints"
_AFTER_COMMIT = "after_commit"
_REPLICAS = "replicas"


class RoutedSession(Session):
    """A session that reads from the replica of the running `read_only()` block."""

    def get_bind(self, *args: Any, **options: Any) -> Engine | Connection:
        """Choose where a statement goes.

        Raises:
            ReadOnlyError: a write inside `read_only()`.
        """
        replica: Engine | None = self.info.get(_REPLICA)
        if options.get("bind") is not None or replica is None:
            return super().get_bind(*args, **options)
        if self._flushing or isinstance(options.get("clause"), UpdateBase):
            raise ReadOnlyError(ReadOnlyError.__doc__)
        return replica

    def rollback(self) -> None:
        """Undo everything, and forget what was to be run after the commit."""
        super().rollback()
        self.info.pop(_AFTER_COMMIT, None)


@dataclass(slots=True)
class _Running:
    """A unit of work. Tasks it has started may know of it for longer than it lasts."""

    session: AsyncSession | None


_running: ContextVar[_Running | None] = ContextVar("unit_of_work", default=None)


def current_session() -> AsyncSession | None:
    """Return the session of the unit of work that is running here, None outside of one.

    For what belongs into the caller's transaction without being handed the session, such as an
    outbox.
    """
    running = _running.get()
    return running.session if running else None


@asynccontextmanager
async def unit_of_work(session: AsyncSession) -> AsyncIterator[AsyncSession]:
    """Commit when the block ends, roll back when it raises; then run what waits for the commit.

    Raises:
        AppError: what the commit failed with, as the service's error where there is one.
    """
    running = _Running(session)
    token = _running.set(running)
    try:
        async with session:
            try:
                yield session
            except BaseException:
                await session.rollback()
                raise
            try:
                await session.commit()
            except Exception as error:  # noqa: BLE001 - translated or raised as it is
                raise_translated(error)
            callbacks: list[AfterCommit] = session.info.pop(_AFTER_COMMIT, [])
    finally:
        running.session = None
        with suppress(ValueError):  # another task ends it than began it
            _running.reset(token)
    for callback in callbacks:
        await _run(callback)


async def _run(callback: AfterCommit) -> None:
    # The commit stands whatever happens here: a failing callback must not turn it into an error.
    try:
        waiting = callback()
        if waiting is not None:
            await waiting
    except Exception as error:  # noqa: BLE001 - logged; see above
        logger.opt(exception=error).error("A step after the commit failed")


def raise_translated(error: Exception) -> None:
    """Raise the service's error for `error`, or `error` itself."""
    if isinstance(error, AppError):
        raise error
    translated = translate(error)
    if translated is None:
        raise error
    raise translated from error


def after_commit(session: AsyncSession, callback: AfterCommit) -> None:
    """Run `callback` once the unit of work is committed; never when it is rolled back.

    For what can't be undone: an event, a message, a file. Callbacks run in order after the session
    is closed; one that raises is logged and does not stop the others.
    """
    session.info.setdefault(_AFTER_COMMIT, []).append(callback)


@asynccontextmanager
async def transaction(session: AsyncSession) -> AsyncIterator[AsyncSession]:
    """All or nothing for a part of the unit of work: a savepoint. May be nested.

    When the block raises, what it did is undone and the unit of work may go on. Nothing is durable
    before the unit of work commits. Reads inside go to the primary.
    """
    waiting: list[AfterCommit] = session.info.setdefault(_AFTER_COMMIT, [])
    before = len(waiting)
    replica = session.info.pop(_REPLICA, None)
    session.info[_SAVEPOINTS] = session.info.get(_SAVEPOINTS, 0) + 1
    try:
        async with session.begin_nested():
            yield session
    except BaseException as error:
        del waiting[before:]
        if isinstance(error, Exception):
            raise_translated(error)
        raise
    finally:
        session.info[_SAVEPOINTS] -= 1
        if replica is not None:
            session.info[_REPLICA] = replica


@asynccontextmanager
async def read_only(session: AsyncSession) -> AsyncIterator[AsyncSession]:
    """Read from a replica inside the block.

    The primary serves the reads when there is no replica, none can be reached, or the block is
    inside `transaction()`. A replica may lag behind: what this unit of work wrote is not visible.

    Raises:
        ReadOnlyError: something in the block writes.
    """
    if session.info.get(_SAVEPOINTS) or session.info.get(_REPLICA) is not None:
        yield session
        return
    await session.flush()
    session.info[_REPLICA] = await _reachable_replica(session)
    try:
        yield session
    finally:
        session.info.pop(_REPLICA, None)


async def _reachable_replica(session: AsyncSession) -> Engine | None:
    """Connect the session to the first replica that answers."""
    replicas = session.info.get(_REPLICAS)
    if replicas is None:
        return None
    for replica in replicas.candidates():
        engine: Engine = replica.engine.sync_engine
        try:
            await session.connection(bind_arguments={"bind": engine})
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one may work
            replicas.failed(replica, error)
        else:
            replicas.works(replica)
            return engine
    return None


def remember_replicas(session: AsyncSession, replicas: Any) -> AsyncSession:
    """Let `read_only()` find the replicas of this session."""
    session.info[_REPLICAS] = replicas
    return session
