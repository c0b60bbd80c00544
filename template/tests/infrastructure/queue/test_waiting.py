"""Waiting for the end of a job, apart from any engine."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from app.infrastructure.queue import JobState, waiting
from app.infrastructure.queue.jobs import JobRecord
from app.infrastructure.queue.signals import Signals
from app.infrastructure.redis.client import build_client
from app.infrastructure.redis.keys import KeySpace
from app.infrastructure.redis.settings import RedisSettings

PATIENCE = 20.0


async def test_all_who_wait_for_a_job_hear_of_its_end(
    redis: Redis, keys: KeySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose question was on its way then, and was answered last."""
    monkeypatch.setattr(waiting, "LOOK_AGAIN", (10 * PATIENCE,))
    signals = Signals(redis, keys)
    asked = asyncio.Event()
    answer = asyncio.Event()
    has_ended = False
    looks = 0

    async def find(queue: str, job_id: str) -> JobRecord:
        nonlocal looks
        looks += 1
        state = JobState.DEAD if has_ended else JobState.ACTIVE
        if looks == 1:  # is asked before the end, and hears it after all others
            asked.set()
            await answer.wait()
        return JobRecord(id=job_id, queue=queue, state=state)

    def wait() -> asyncio.Task[JobRecord]:
        job = ("default", "a")
        return asyncio.create_task(waiting.wait_for_end(signals, find, job, PATIENCE))

    try:
        first = wait()
        await asked.wait()
        second = wait()
        while looks < 2:  # noqa: ASYNC110 - of the other task
            await asyncio.sleep(0.01)
        has_ended = True
        await redis.publish(signals.ended_channel("default", "a"), "")
        assert (await second).state is JobState.DEAD
        answer.set()
        assert (await first).state is JobState.DEAD
    finally:
        await signals.stop()


async def test_a_connection_that_was_idle_is_used_for_messages(
    redis: Redis, redis_settings: RedisSettings, keys: KeySpace
) -> None:
    """One task alone asks whether it is still good: two would read each other's answers."""
    settings = redis_settings.model_copy(update={"redis_health_interval": 0.1})
    client = build_client(settings, settings.address, keys.prefix)
    signals = Signals(client, keys)
    try:
        idle = await client.client_id()
        await asyncio.sleep(0.2)
        with signals.job_ended("q", "a"):
            await signals.listen("q", "a")
            await until_listening(redis, signals, "a")
            listening = await redis.client_list(_type="pubsub")
            assert str(idle) in {found["id"] for found in listening}
    finally:
        await signals.stop()
        await client.aclose()


async def kill_subscribers(redis: Redis, name: str) -> None:
    """Close the connections of this name that are subscribed to something."""
    for found in await redis.client_list(_type="pubsub"):
        if found["name"] == name:
            await redis.client_kill_filter(_id=found["id"])


async def until_listening(redis: Redis, signals: Signals, *jobs: str) -> None:
    """Wait until Redis has subscriptions for these jobs and for no other."""
    wanted = {signals.ended_channel("q", job) for job in jobs}
    async with asyncio.timeout(PATIENCE):
        while set(await redis.pubsub_channels(signals.ended_channel("q", "*"))) != wanted:  # noqa: ASYNC110 - of another task
            await asyncio.sleep(0.01)


async def test_connections_lost_while_others_subscribe_are_made_again(
    redis: Redis, redis_settings: RedisSettings, keys: KeySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one task: two that connect the same one close it for each other."""
    monkeypatch.setattr(waiting, "LOOK_AGAIN", (10 * PATIENCE,))
    client = build_client(redis_settings, redis_settings.address, keys.prefix)
    signals = Signals(client, keys)
    ended: set[str] = set()

    async def find(queue: str, job_id: str) -> JobRecord:
        state = JobState.DEAD if job_id in ended else JobState.ACTIVE
        return JobRecord(id=job_id, queue=queue, state=state)

    def wait(job_id: str) -> asyncio.Task[JobRecord]:
        return asyncio.create_task(waiting.wait_for_end(signals, find, ("q", job_id), PATIENCE))

    async def come_and_go(name: str) -> None:
        for number in range(40):
            waiter = wait(f"{name}-{number}")
            await asyncio.sleep(0.003 * (number % 4))
            waiter.cancel()

    first = wait("first")
    try:
        coming = [asyncio.create_task(come_and_go(str(n))) for n in range(20)]
        while not all(task.done() for task in coming):
            await kill_subscribers(redis, keys.prefix)
            await asyncio.sleep(0.01)
        await asyncio.gather(*coming)
        await until_listening(redis, signals, "first")
        await kill_subscribers(redis, keys.prefix)
        ended.add("first")
        assert (await first).state is JobState.DEAD  # sees it when the connection is there again
        last = wait("last")
        await until_listening(redis, signals, "last")
        ended.add("last")
        await redis.publish(signals.ended_channel("q", "last"), "")
        assert (await last).state is JobState.DEAD
        await until_listening(redis, signals)
    finally:
        await signals.stop()
        await client.aclose()
