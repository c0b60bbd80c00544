"""The inbox: an effect and its key are committed together, once."""

from __future__ import annotations

import asyncio

import pytest
from dishka import AsyncContainer
from pydantic import BaseModel, Field, TypeAdapter

from app.infrastructure.database import Database
from app.infrastructure.deferred import Tasks
from app.infrastructure.deferred.testing import until_done
from app.infrastructure.outbox import NoUnitOfWorkError, once
from tests.infrastructure.outbox.conftest import Shop, UndoError, count, scalars

NAMES = "SELECT name FROM effects ORDER BY name"
INT = TypeAdapter(int)


async def test_a_method_has_its_effect_once(container: AsyncContainer, database: Database) -> None:
    results = []
    for name in ("tea", "tea", "milk"):
        async with container() as scope:
            results.append(await (await scope.get(Shop)).sell_once(name))

    assert results == [{"tea": 1}, {"tea": 1}, {"milk": 1}]
    assert await scalars(database, NAMES) == ["milk", "tea"]


async def test_a_rolled_back_effect_may_happen_again(
    container: AsyncContainer, database: Database
) -> None:
    async def fail() -> None:
        async with container() as scope:
            await (await scope.get(Shop)).sell_once("tea")
            raise UndoError

    with pytest.raises(UndoError):
        await fail()
    async with container() as scope:
        assert await (await scope.get(Shop)).sell_once("tea") == {"tea": 1}

    assert await scalars(database, NAMES) == ["tea"]


async def test_an_effect_that_failed_keeps_no_key(database: Database) -> None:
    """Where the unit of work goes on nevertheless."""

    async def fail() -> int:
        raise UndoError

    async def work() -> int:
        return 7

    async with database.unit_of_work() as session:
        with pytest.raises(UndoError):
            await once(session, "k", fail, INT)
        assert await once(session, "k", work, INT) == 7
        assert await once(session, "k", fail, INT) == 7


async def test_a_result_is_read_whatever_its_fields_are_called(database: Database) -> None:
    class Receipt(BaseModel):
        order_id: int = Field(alias="orderId")

    async def work() -> Receipt:
        return Receipt(orderId=7)

    async with database.unit_of_work() as session:
        first = await once(session, "k", work, TypeAdapter(Receipt))
        assert await once(session, "k", work, TypeAdapter(Receipt)) == first


async def test_it_needs_a_unit_of_work() -> None:
    with pytest.raises(NoUnitOfWorkError):
        await Shop.sell_once(None, "tea")  # type: ignore[arg-type]  # not looked at


@pytest.mark.usefixtures("real_commits")
async def test_calls_of_one_key_return_the_first_result(
    container: AsyncContainer, database: Database
) -> None:
    """Each of them is a job of its own: as if one had been delivered again and again."""
    tasks = await container.get(Tasks)
    jobs = [
        (await tasks.run_later(lambda run: run(Shop).sell("tea"), idempotency="order:1"))[0]
        for _ in range(20)
    ]
    service = await tasks.run_later(lambda run: run(Shop).sell_once("cake"), idempotency="order:1")
    other = await tasks.run_later(
        lambda run: [run(Shop).sell("milk"), run(Shop).sell("milk")], idempotency="order:2"
    )
    await until_done(container)

    assert {await job.result(timeout=60) for job in jobs} == {1}
    await other.results(timeout=60)
    assert await service[0].result(timeout=60) == {"cake": 1}  # another method, another key
    assert await scalars(database, NAMES) == ["cake", "milk", "milk", "tea"]


@pytest.mark.usefixtures("real_commits")
async def test_who_comes_meanwhile_gets_the_first_result(database: Database) -> None:
    """On PostgreSQL it waits for the other transaction; on SQLite for the lock on writing."""

    async def call() -> int:
        async with database.unit_of_work() as session:

            async def effect() -> int:
                await Shop(session).sell("tea")
                await asyncio.sleep(0.05)
                return await count(session, "tea")

            return await once(session, "k", effect, INT)

    assert await asyncio.gather(*(call() for _ in range(4))) == [1, 1, 1, 1]
    assert await scalars(database, NAMES) == ["tea"]
