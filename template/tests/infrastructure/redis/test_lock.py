"""One holder at a time; who lost the lock is told, and his writes can be told from the next's."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from redis.asyncio import Redis

from app.infrastructure.redis import KeySpace, LockLostError, LockNotAcquiredError, Locks
from app.infrastructure.redis.client import build_client
from app.infrastructure.redis.errors import RedisUnavailableError
from app.infrastructure.redis.settings import RedisSettings


@pytest.fixture
def locks(redis: Redis, keys: KeySpace) -> Locks:
    return Locks(redis, keys)


async def test_a_second_holder_is_refused_until_the_first_lets_go(locks: Locks) -> None:
    async with locks.lock("report"):
        with pytest.raises(LockNotAcquiredError):
            async with locks.lock("report"):
                pass

    async with locks.lock("report"):
        pass


async def test_who_waits_gets_it_next(locks: Locks) -> None:
    order: list[str] = []

    async def work(name: str) -> None:
        async with locks.lock("report", wait=60):
            order.append(f"+{name}")
            await asyncio.sleep(0.05)
            order.append(f"-{name}")

    await asyncio.gather(*(work(name) for name in "abc"))

    assert [line[1] for line in order[::2]] == [line[1] for line in order[1::2]]
    assert len(order) == 6


async def test_each_holders_token_is_larger(locks: Locks) -> None:
    tokens = []
    for _ in range(3):
        async with locks.lock("report") as held:
            tokens.append(held.token)

    assert tokens == sorted(set(tokens))


async def test_it_is_renewed_while_it_is_held(locks: Locks, redis: Redis, keys: KeySpace) -> None:
    """Long before it ends; half of its time is taken away, as if that had passed."""
    key = keys.tagged("report", "lock")
    async with locks.lock("report", ttl=6):
        await redis.pexpire(key, 3000)
        async with asyncio.timeout(60):
            while await redis.pttl(key) <= 3000:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.05)
        with pytest.raises(LockNotAcquiredError):
            async with locks.lock("report"):
                pass


async def test_that_of_a_crashed_holder_expires(locks: Locks) -> None:
    held = await locks._acquire("report", 0.1, 0)

    async with locks.lock("report", wait=60) as later:
        assert later.token > held.token


async def test_who_loses_it_is_interrupted(locks: Locks, redis: Redis, keys: KeySpace) -> None:
    finished = False

    async def work() -> None:
        nonlocal finished
        async with locks.lock("report", ttl=3):
            await redis.set(keys.tagged("report", "lock"), "somebody else")
            await asyncio.sleep(60)
            finished = True

    with pytest.raises(LockLostError):
        await work()

    assert not finished
    assert await redis.get(keys.tagged("report", "lock")) == "somebody else"


async def test_without_renewal_the_block_has_its_time(locks: Locks) -> None:
    with pytest.raises(LockLostError):
        async with locks.lock("report", ttl=0.1, renew=False):
            await asyncio.sleep(60)


async def test_a_cancellation_from_outside_stays_one(locks: Locks) -> None:
    held = asyncio.Event()

    async def work() -> None:
        async with locks.lock("report"):
            held.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with locks.lock("report"):
        pass


async def test_a_server_that_is_away_is_a_503(keys: KeySpace) -> None:
    settings = RedisSettings.model_validate(
        {"redis_url": "redis://:hunter2@127.0.0.1:1/0", "redis_retries": 0}
    )
    client = build_client(settings, settings.address, "test")

    with pytest.raises(RedisUnavailableError) as caught:
        async with Locks(client, keys).lock("report"):
            pass

    assert caught.value.status == 503
    assert "hunter2" not in str(caught.value)
    await client.aclose()


async def test_a_block_that_ignores_the_loss_is_told_at_its_end(
    locks: Locks, redis: Redis, keys: KeySpace
) -> None:
    with pytest.raises(LockLostError):
        async with locks.lock("report", ttl=1):
            await redis.delete(keys.tagged("report", "lock"))
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    await asyncio.sleep(0)  # nothing of the cancellation is left
