"""What is done with the rows, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.infrastructure.outbox.models import InboxRow, OutboxRow


@dataclass(frozen=True, slots=True)
class Lag:
    """How the outbox is doing."""

    pending: int
    oldest: datetime | None
    """When the oldest unpublished row was written."""
    dead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why rows could not be published, and what follows from it."""

    error: str
    next_at: datetime
    """When to try again."""
    tries: int = 0
    """Added to their attempts; none, where it was not their fault."""
    dead_at: datetime | None = None
    """When they were given up; None: they are not."""


def _pending(row: type[OutboxRow]) -> ColumnElement[bool]:
    return and_(row.published_at.is_(None), row.dead_at.is_(None))


async def claim(  # noqa: PLR0913 - each is one choice of the caller
    session: AsyncSession,
    *,
    now: datetime,
    lease: timedelta,
    limit: int,
    only: Collection[UUID] | None = None,
    until: datetime | None = None,
) -> Sequence[OutboxRow]:
    """Take rows to publish: nobody else does before the lease is over.

    Of rows with one key only the first is taken. One statement, so that SQLite needs no more lock
    than for a write, and PostgreSQL lets several relays pass each other.

    Args:
        session: in a transaction of its own.
        now: rows whose time has come by then.
        lease: how long they are this caller's.
        limit: at most so many.
        only: of these rows.
        until: also rows whose time comes by then. Those another relay has taken are due later.
    """
    earlier = aliased(OutboxRow)
    is_first = or_(
        OutboxRow.key.is_(None),
        ~exists().where(earlier.key == OutboxRow.key, _pending(earlier), earlier.id < OutboxRow.id),
    )
    chosen = OutboxRow.next_at <= (now if until is None else max(now, until))
    if only is not None:
        chosen = and_(chosen, OutboxRow.id.in_(only))
    ready = (
        select(OutboxRow.id)
        .where(_pending(OutboxRow), chosen, is_first)
        .order_by(OutboxRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=OutboxRow)
    )
    taken = await session.scalars(
        update(OutboxRow)
        .where(OutboxRow.id.in_(ready), _pending(OutboxRow))
        .values(next_at=now + lease)
        .returning(OutboxRow)
        .execution_options(synchronize_session=False)
    )
    return sorted(taken, key=lambda row: row.id)


async def hold(session: AsyncSession, ids: Collection[UUID], until: datetime) -> None:
    """Keep rows that are being published from others for longer."""
    await session.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(ids), _pending(OutboxRow))
        .values(next_at=until)
        .execution_options(synchronize_session=False)
    )


async def mark_published(session: AsyncSession, ids: Collection[UUID], now: datetime) -> None:
    """Note that rows were published."""
    await session.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(ids))
        .values(published_at=now, error=None)
        .execution_options(synchronize_session=False)
    )


async def mark_failed(session: AsyncSession, ids: Collection[UUID], failure: Failure) -> None:
    """Note that rows could not be published."""
    await session.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(ids), OutboxRow.published_at.is_(None))
        .values(
            error=failure.error,
            next_at=failure.next_at,
            dead_at=failure.dead_at,
            attempts=OutboxRow.attempts + failure.tries,
        )
        .execution_options(synchronize_session=False)
    )


async def lag(session: AsyncSession) -> Lag:
    """Return how many rows wait, since when, and how many are dead."""
    found = await session.execute(
        select(func.count(), func.min(OutboxRow.created_at)).where(_pending(OutboxRow))
    )
    pending, oldest = found.one()
    dead = await session.scalar(
        select(func.count()).select_from(OutboxRow).where(OutboxRow.dead_at.is_not(None))
    )
    return Lag(pending, oldest, dead or 0)


async def dead(session: AsyncSession, limit: int) -> Sequence[OutboxRow]:
    """Return rows that were given up, the newest first."""
    found = await session.scalars(
        select(OutboxRow)
        .where(OutboxRow.dead_at.is_not(None))
        .order_by(OutboxRow.dead_at.desc())
        .limit(limit)
    )
    return found.all()


async def replay(session: AsyncSession, now: datetime, ids: Collection[UUID] | None = None) -> int:
    """Let the relay try dead rows again, these or all; return how many."""
    which: ColumnElement[bool] = OutboxRow.dead_at.is_not(None)
    if ids is not None:
        which = and_(which, OutboxRow.id.in_(ids))
    found = await session.scalars(
        update(OutboxRow)
        .where(which)
        .values(dead_at=None, attempts=0, next_at=now)
        .returning(OutboxRow.id)
        .execution_options(synchronize_session=False)
    )
    return len(found.all())


async def purge(session: AsyncSession, published: datetime, done: datetime) -> int:
    """Delete rows published before one moment and keys kept since before another."""
    rows = await session.scalars(
        delete(OutboxRow)
        .where(OutboxRow.published_at < published)
        .returning(OutboxRow.id)
        .execution_options(synchronize_session=False)
    )
    keys = await session.scalars(
        delete(InboxRow)
        .where(InboxRow.created_at < done)
        .returning(InboxRow.key)
        .execution_options(synchronize_session=False)
    )
    return len(rows.all()) + len(keys.all())
