"""Sessions: one per unit of work, routed to the primary or a replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Engine, TextClause, UpdateBase
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.core.errors import AppError
from app.core.work import WorkState
from app.infrastructure.database.errors import DatabaseUnavailableError, ReadOnlyError, translate

AfterCommit = Callable[[], Awaitable[None] | None]

_REPLICA = "replica"
_SAVEPOINTS = "savepoints"
_AFTER_COMMIT = "after_commit"
_AFTER_ROLLBACK = "after_rollback"
_REPLICAS = "replicas"
_WRITTEN = "written"
IN_DOUBT = (DatabaseUnavailableError, TimeoutError, asyncio.CancelledError)
"""Raised by a commit of which nobody knows whether the database has it."""


class RoutedSession(Session):
    """A session that reads from the replica of the running `read_only()` block."""

    def get_bind(self, *args: Any, **options: Any) -> Engine | Connection:
        """Choose where a statement goes.

        Raises:
            ReadOnlyError: a write inside `read_only()`.
        """
        replica: Engine | None = self.info.get(_REPLICA)
        clause = options.get("clause")
        writes = self._flushing or isinstance(clause, UpdateBase)
        if writes or (isinstance(clause, TextClause) and not _only_reads(clause)):
            self.info[_WRITTEN] = True
        if options.get("bind") is not None or replica is None:
            return super().get_bind(*args, **options)
        if writes:
            raise ReadOnlyError(ReadOnlyError.__doc__)
        return replica

    def rollback(self) -> None:
        """Undo everything, and forget what was to be run after the commit."""
        super().rollback()
        self.info.pop(_AFTER_COMMIT, None)
        self.info.pop(_WRITTEN, None)


def _only_reads(clause: TextClause) -> bool:
    return clause.text.lstrip()[:6].upper() == "SELECT"


@dataclass(slots=True)
class _Running:
    """A unit of work. Tasks it has started may know of it for longer than it lasts."""

    session: AsyncSession | None
    began: float


_running: ContextVar[_Running | None] = ContextVar("unit_of_work", default=None)


def current_session() -> AsyncSession | None:
    """Return the session of the unit of work that is running here, None outside of one.

    For what belongs into the caller's transaction without being handed the session, such as an
    outbox.
    """
    running = _running.get()
    return running.session if running else None


def work_state() -> WorkState | None:
    """Return how far the unit of work is that is running here, None outside of one."""
    running = _running.get()
    if running is None or (session := running.session) is None:
        return None
    unwritten = bool(session.new or session.dirty or session.deleted)
    return WorkState(
        age=monotonic() - running.began,
        has_written=unwritten or session.info.get(_WRITTEN, False),
    )


def after_current_commit(callback: AfterCommit) -> None:
    """Run `callback` once the unit of work that is running here is committed; see `after_commit`.

    Raises:
        RuntimeError: none is running.
    """
    session = current_session()
    if session is None:
        message = "no unit of work is running here"
        raise RuntimeError(message)
    after_commit(session, callback)


@asynccontextmanager
async def unit_of_work(session: AsyncSession) -> AsyncIterator[AsyncSession]:
    """Commit when the block ends, roll back when it raises; then run what waits for the commit.

    Raises:
        AppError: what the commit failed with, as the service's error where there is one.
    """
    callbacks: list[AfterCommit] = []
    running = _Running(session, monotonic())
    token = _running.set(running)
    try:
        async with session:
            try:
                yield session
            except BaseException:
                await session.rollback()
                raise
            try:
                await session.flush()
                # What a task it has started would add now, no commit would take along.
                running.session = None
                await _commit(session)
            except Exception as error:  # noqa: BLE001 - translated or raised as it is
                raise_translated(error)
            callbacks = session.info.pop(_AFTER_COMMIT, [])
            session.info.pop(_AFTER_ROLLBACK, None)
    finally:
        running.session = None
        with suppress(ValueError):  # another task ends it than began it
            _running.reset(token)
        await _run_all([*session.info.pop(_AFTER_ROLLBACK, ()), *callbacks])


async def _run_all(callbacks: Iterable[AfterCommit]) -> None:
    cancelled: asyncio.CancelledError | None = None
    for callback in callbacks:
        try:
            await _run(callback)
        except asyncio.CancelledError as error:  # the others are owed all the same
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _commit(session: AsyncSession) -> None:
    try:
        await session.commit()
    except IN_DOUBT:
        # It may stand nevertheless, and then what was done elsewhere has to be there.
        # What a savepoint has undone for certain is in both lists.
        owed = session.info.get(_AFTER_COMMIT, ())
        steps = session.info.pop(_AFTER_ROLLBACK, ())
        session.info[_AFTER_ROLLBACK] = [step for step in steps if step in owed]
        raise


async def _run(callback: AfterCommit) -> None:
    # What it does is part of no unit of work, of none around this one either: that may be undone.
    token = _running.set(None)
    # The commit stands whatever happens here: a failing callback must not turn it into an error.
    try:
        waiting = callback()
        if waiting is not None:
            await waiting
    except Exception as error:  # noqa: BLE001 - logged; see above
        logger.opt(exception=error).error("A step after the unit of work failed")
    finally:
        _running.reset(token)


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
    is closed; one that raises is logged. None stops the others, nor does a cancellation.
    """
    session.info.setdefault(_AFTER_COMMIT, []).append(callback)


def after_rollback(session: AsyncSession, callback: AfterCommit) -> None:
    """Run `callback` if the unit of work is not committed, or a `transaction()` around is undone.

    For what was done elsewhere and has to be undone too: a file. A process that is killed runs
    none of them, nor does a commit that is cut off: it may stand.
    """
    session.info.setdefault(_AFTER_ROLLBACK, []).append(callback)


@asynccontextmanager
async def transaction(session: AsyncSession) -> AsyncIterator[AsyncSession]:
    """All or nothing for a part of the unit of work: a savepoint. May be nested.

    When the block raises, what it did is undone and the unit of work may go on. Nothing is durable
    before the unit of work commits. Reads inside go to the primary.
    """
    waiting: list[AfterCommit] = session.info.setdefault(_AFTER_COMMIT, [])
    undoing: list[AfterCommit] = session.info.setdefault(_AFTER_ROLLBACK, [])
    before, undone = len(waiting), len(undoing)
    replica = session.info.pop(_REPLICA, None)
    session.info[_SAVEPOINTS] = session.info.get(_SAVEPOINTS, 0) + 1
    try:
        async with session.begin_nested():
            yield session
    except BaseException as error:
        waiting[before:] = undoing[undone:]  # they run whatever becomes of the unit of work
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
