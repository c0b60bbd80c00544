"""With a database: what is not committed reaches nobody, and what is old is not kept.

The database is looked for when the tests run: a service may have a cache without one.
"""

from __future__ import annotations

import asyncio
import os
from contextvars import Context
from typing import Any

import pytest

from app.core.discovery import discover
from app.core.work import WorkPort
from app.infrastructure.cache import Cache
from app.infrastructure.cache.statistics import Happened
from tests.infrastructure.cache.conftest import MakeCache

pytest.importorskip("app.infrastructure.database")
sql = pytest.importorskip("sqlalchemy")
pytestmark = pytest.mark.usefixtures("real_commits")
SQLITE = not os.environ.get("TEST_DATABASE_URL")


class UndoError(Exception):
    """Ends a unit of work."""


class Shelf:
    """A table with one row, and the cache before it."""

    def __init__(self, database: Any, cache: Cache) -> None:
        self.database = database
        self.cache = cache
        self.calls = 0

    async def read(self, session: Any) -> int:
        """Return the row, by a cached read in a unit of work."""

        async def compute() -> int:
            self.calls += 1
            return int(await session.scalar(sql.text("SELECT n FROM shelf")))

        return await self.cache.get_or_set("shelf:1", compute, 60, tags=["shelf"])

    async def look(self) -> int:
        """Return what a request of somebody else gets."""
        async with self.database.unit_of_work() as session:
            return await self.read(session)

    async def write(self, session: Any, number: int) -> None:
        """Change it, and say so."""
        await session.execute(sql.text("UPDATE shelf SET n = :n"), {"n": number})
        await self.cache.invalidate(tags=["shelf"])


@pytest.fixture
def works() -> tuple[WorkPort, ...]:
    return discover().contributions(WorkPort)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("test_database")


@pytest.fixture
async def shelf(database: Any, make_cache: MakeCache, works: tuple[WorkPort, ...]) -> Shelf:
    async with database.unit_of_work() as session:
        await session.execute(sql.text("CREATE TABLE shelf (n integer)"))
        await session.execute(sql.text("INSERT INTO shelf VALUES (1)"))
    # Time goes on, so that the first value is kept.
    await asyncio.sleep(0.01)
    return Shelf(database, make_cache(works=works))


async def test_what_is_only_read_is_kept(shelf: Shelf) -> None:
    assert await shelf.look() == await shelf.look() == 1
    assert shelf.calls == 1


async def test_an_invalidation_waits_for_the_commit(shelf: Shelf) -> None:
    await shelf.look()
    async with shelf.database.unit_of_work() as session:
        await shelf.write(session, 2)
        assert (
            await shelf.cache.get("shelf:1", int, tags=["shelf"]) is None
        )  # here it is not looked at
        assert (
            await _elsewhere(shelf) == 1
        )  # nobody else sees the change, and the cache still serves

    assert shelf.calls == 1
    assert await shelf.look() == 2


async def _elsewhere(shelf: Shelf) -> int | None:
    """Ask as another request does, which has no unit of work."""
    asked = shelf.cache.get("shelf:1", int, tags=["shelf"])
    return await asyncio.create_task(asked, context=Context())


async def test_a_rollback_invalidates_nothing_and_keeps_nothing(shelf: Shelf) -> None:
    """The classic bug: the value of a transaction that never was is served for an hour."""
    await shelf.look()

    async def fail() -> None:
        async with shelf.database.unit_of_work() as session:
            await shelf.write(session, 2)
            assert await shelf.read(session) == 2  # its own change, computed
            raise UndoError

    with pytest.raises(UndoError):
        await fail()
    assert await shelf.look() == 1
    assert shelf.calls == 2
    assert shelf.cache.statistics.total(Happened.BYPASSED) == 1


async def test_immediate_does_not_wait(shelf: Shelf) -> None:
    await shelf.look()
    async with shelf.database.unit_of_work():
        await shelf.cache.invalidate(tags=["shelf"], immediate=True)
        assert await _elsewhere(shelf) is None


async def test_a_value_that_is_set_waits_for_the_commit_too(shelf: Shelf) -> None:
    async def fail() -> None:
        async with shelf.database.unit_of_work() as session:
            await shelf.write(session, 2)
            await shelf.cache.set("shelf:1", 2, 60, model=int, tags=["shelf"])
            raise UndoError

    with pytest.raises(UndoError):
        await fail()
    assert await shelf.look() == 1


async def test_what_a_writing_computation_returns_is_not_kept(shelf: Shelf) -> None:
    """It began clean, and wrote."""
    running: list[Any] = []

    async def compute() -> int:
        await running[0].execute(sql.text("UPDATE shelf SET n = 5"))
        return 5

    async def fail() -> None:
        async with shelf.database.unit_of_work() as session:
            running.append(session)
            assert await shelf.cache.get_or_set("shelf:1", compute, 60, tags=["shelf"]) == 5
            raise UndoError

    with pytest.raises(UndoError):
        await fail()
    assert await shelf.look() == 1
    assert shelf.cache.statistics.total(Happened.OUTDATED) == 1


async def test_a_unit_of_work_older_than_the_invalidation_keeps_nothing(shelf: Shelf) -> None:
    """It may read a snapshot, or objects, of before; after it began, others changed the row."""
    async with shelf.database.unit_of_work() as old:
        before = int(await old.scalar(sql.text("SELECT n FROM shelf")))
        await asyncio.create_task(_change(shelf, 2))
        found = await shelf.read(old)
    assert before == 1
    assert found == (1 if SQLITE else 2)  # SQLite shows a snapshot
    assert shelf.cache.statistics.total(Happened.OUTDATED) == 1
    assert await shelf.look() == 2


async def _change(shelf: Shelf, number: int) -> None:
    async with shelf.database.unit_of_work() as session:
        await shelf.write(session, number)


async def test_a_read_that_overlaps_the_change_is_not_kept(shelf: Shelf) -> None:
    """Begun before the commit, ended after the invalidation: the stale refill."""
    has_read, go = asyncio.Event(), asyncio.Event()

    async def compute() -> int:
        async with shelf.database.unit_of_work() as session:
            number = int(await session.scalar(sql.text("SELECT n FROM shelf")))
        has_read.set()
        await go.wait()
        return number

    old = asyncio.create_task(shelf.cache.get_or_set("shelf:1", compute, 60, tags=["shelf"]))
    await has_read.wait()
    await _change(shelf, 2)
    go.set()

    assert await old == 1
    assert await shelf.look() == 2


async def test_with_replicas_nothing_is_kept_for_as_long_as_they_may_lag(
    make_cache: MakeCache,
) -> None:
    cache, calls = make_cache(lag=0.5), 0

    async def compute() -> int:
        nonlocal calls
        calls += 1
        return calls

    assert await cache.get_or_set("r:1", compute, 60) == 1
    assert await cache.get_or_set("r:1", compute, 60) == 1
    await cache.delete("r:1")
    assert await cache.get_or_set("r:1", compute, 60) == 2
    assert await cache.get_or_set("r:1", compute, 60) == 3
    await asyncio.sleep(0.6)
    assert await cache.get_or_set("r:1", compute, 60) == 4
    assert await cache.get_or_set("r:1", compute, 60) == 4
