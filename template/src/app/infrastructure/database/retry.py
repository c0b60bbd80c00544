"""Run a whole transaction again when the database asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeVar

import stamina
from sqlalchemy.ext.asyncio import AsyncSession

from app.infrastructure.database.database import Database
from app.infrastructure.database.errors import TransientDatabaseError

ResultT = TypeVar("ResultT")

_running: ContextVar[list[AsyncSession] | None] = ContextVar("transaction_with_retry", default=None)
"""The session `work` has: empty once that is over, also for tasks it has started."""


async def transaction_with_retry(
    database: Database,
    work: Callable[[AsyncSession], Awaitable[ResultT]],
    *,
    attempts: int = 5,
    timeout: float = 10.0,  # noqa: ASYNC109 - bounds the retries; the running attempt is not cut
) -> ResultT:
    """Run `work` in a transaction of its own; run it again after a deadlock or a conflict.

    Retried are serialization failures and deadlocks (SQLSTATE 40001, 40P01), lock timeouts, and
    SQLite's "database is locked", with exponential backoff and jitter. `work` gets a fresh session
    each time and must do everything in the database through it: whatever else it does happens once
    per attempt. Steps given to `after_commit()` run once.

    Args:
        database: where to run it.
        work: the whole transaction.
        attempts: how often it is run at most.
        timeout: seconds after which no further attempt is made.

    Raises:
        TransientDatabaseError: the last attempt failed as well.
        RuntimeError: called from within another `transaction_with_retry`, which could not undo it.
    """
    if _running.get():
        message = (
            "transaction_with_retry() inside another one: the inner commit would stay when the "
            "outer is repeated. Use transaction(session) inside"
        )
        raise RuntimeError(message)
    try:
        async for attempt in stamina.retry_context(
            on=TransientDatabaseError,
            attempts=attempts,
            timeout=timeout,
            wait_initial=0.05,
            wait_max=1.0,
            wait_jitter=0.1,
        ):
            with attempt:
                async with database.unit_of_work() as session:
                    return await _guarded(work, session)
    except TransientDatabaseError as error:
        error.transient = False  # it has been done again: who called it need not
        raise
    message = "stamina ends by returning a result or raising the last error"
    raise AssertionError(message)  # pragma: no cover - it always does


async def _guarded(
    work: Callable[[AsyncSession], Awaitable[ResultT]], session: AsyncSession
) -> ResultT:
    running = [session]
    token = _running.set(running)
    try:
        return await work(session)
    finally:
        running.clear()
        _running.reset(token)
