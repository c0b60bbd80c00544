"""A transaction the database gives up on is run again, whole."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.infrastructure.database import (
    Database,
    TransientDatabaseError,
    after_commit,
    transaction_with_retry,
)
from tests.infrastructure.database.conftest import Probe


async def add_rows(database: Database, *names: str) -> None:
    async with database.unit_of_work() as session:
        session.add_all(Probe(name=name) for name in names)


async def rank(database: Database, name: str) -> int:
    async with database.session() as session:
        return (await session.scalars(select(Probe.rank).where(Probe.name == name))).one()


async def increment(
    session: AsyncSession, name: str, all_have_read: asyncio.Barrier | None = None
) -> None:
    """Read, think, write: what two at once can't both do."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
    row = (await session.scalars(select(Probe).where(Probe.name == name))).one()
    await (all_have_read.wait() if all_have_read else asyncio.sleep(0.05))
    await session.execute(
        text("UPDATE probe SET rank = :rank WHERE name = :name"),
        {"rank": row.rank + 1, "name": name},
    )


async def test_conflicting_increments_all_count(database: Database) -> None:
    await add_rows(database, "counter")
    done: list[int] = []

    async def work(session: AsyncSession) -> None:
        await increment(session, "counter")
        after_commit(session, lambda: done.append(1))

    await asyncio.gather(
        *(transaction_with_retry(database, work, attempts=20, timeout=60) for _ in range(4))
    )

    assert await rank(database, "counter") == 4
    assert len(done) == 4


async def test_without_retry_a_conflict_is_a_503(database: Database) -> None:
    await add_rows(database, "counter")
    both_have_read = asyncio.Barrier(2)

    async def once() -> None:
        async with database.unit_of_work() as session:
            await increment(session, "counter", both_have_read)

    results = await asyncio.gather(once(), once(), return_exceptions=True)

    errors = [result for result in results if result is not None]
    assert len(errors) == 1
    assert isinstance(errors[0], TransientDatabaseError)
    assert errors[0].status == 503
    assert errors[0].headers["Retry-After"]


async def test_a_deadlock_is_resolved(database: Database) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite locks the whole file: two rows can't deadlock")
    await add_rows(database, "a", "b")

    async def both(session: AsyncSession, first: str, second: str) -> None:
        for name in (first, second):
            await session.execute(
                text("UPDATE probe SET rank = rank + 1 WHERE name = :name"), {"name": name}
            )
            await asyncio.sleep(0.1)

    await asyncio.gather(
        transaction_with_retry(database, lambda s: both(s, "a", "b"), timeout=60),
        transaction_with_retry(database, lambda s: both(s, "b", "a"), timeout=60),
    )

    assert (await rank(database, "a"), await rank(database, "b")) == (2, 2)


async def test_it_gives_up_after_the_last_attempt(database: Database) -> None:
    attempts: list[int] = []

    async def work(_: AsyncSession) -> None:
        attempts.append(1)
        raise TransientDatabaseError

    with pytest.raises(TransientDatabaseError) as caught:
        await transaction_with_retry(database, work, attempts=3)
    assert not caught.value.transient  # it was done again: whoever called it need not

    assert len(attempts) == 3


async def test_what_comes_after_it_or_outlives_it_may_have_one_of_its_own(
    database: Database,
) -> None:
    """A step after the commit, and a task it has started."""
    done: list[str] = []
    tasks: list[asyncio.Task[None]] = []
    over = asyncio.Event()

    async def other(name: str) -> None:
        async def note(_: AsyncSession) -> None:
            done.append(name)

        await transaction_with_retry(database, note)

    async def late() -> None:
        await over.wait()
        await other("task")

    async def work(session: AsyncSession) -> None:
        after_commit(session, lambda: other("step"))
        tasks.append(asyncio.create_task(late()))
        with pytest.raises(RuntimeError, match="inside another one"):
            await other("inside")

    await transaction_with_retry(database, work)
    over.set()
    await tasks[0]

    assert done == ["step", "task"]


async def test_another_error_is_not_repeated(database: Database) -> None:
    attempts: list[int] = []

    async def work(_: AsyncSession) -> None:
        attempts.append(1)
        message = "a mistake"
        raise ValueError(message)

    with pytest.raises(ValueError, match="a mistake"):
        await transaction_with_retry(database, work)

    assert len(attempts) == 1


async def test_one_inside_another_is_refused(database: Database) -> None:
    async def inner(_: AsyncSession) -> None: ...

    async def outer(_: AsyncSession) -> None:
        await transaction_with_retry(database, inner)

    with pytest.raises(RuntimeError, match="inside another one"):
        await transaction_with_retry(database, outer)
