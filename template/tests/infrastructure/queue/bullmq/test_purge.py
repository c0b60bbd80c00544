"""Deleting jobs while workers take some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from app.infrastructure.queue import DeadReason, JobFailedError, JobState, job
from app.infrastructure.queue.bullmq import listing, scripts
from app.infrastructure.queue.redis_scripts import Commands, Line
from app.infrastructure.queue.testing import StartJobs
from app.infrastructure.redis.keys import KeySpace

PATIENCE = 20.0


@job("echo")
async def echo(value: int) -> int:
    return value


@pytest.fixture
def queue_engine() -> str:
    """This engine alone."""
    return "bullmq"


async def test_what_waits_for_a_purged_job_is_told_whoever_takes_others_meanwhile(
    job_service: StartJobs, redis: Redis, keys: KeySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker takes the first one just before the next is deleted."""
    monkeypatch.setattr(listing, "BATCH", 1)
    send = Commands._send
    taken: list[Any] = []

    async def take_first(self: Commands, lines: Sequence[Line], *, transaction: bool) -> Any:
        if not taken and any(scripts.CLEAN.digest in line for line in lines):
            taken.append(await redis.rpop(f"{{{keys.prefix}}}:default:wait"))
        return await send(self, lines, transaction=transaction)

    async with job_service([echo], work=False) as running:
        jobs = running.jobs
        first, second = [jobs.prepare(echo, number) for number in (1, 2)]
        await jobs.publish_after(jobs.prepare(echo, 3, queue="later"), [first])
        parent = await jobs.publish_after(jobs.prepare(echo, 4, queue="later"), [second])
        monkeypatch.setattr(Commands, "_send", take_first)
        assert await running.engine.purge("default", JobState.WAITING) == 1
        assert taken == [first.id]
        async with job_service([echo], worker_queues="later"):
            with pytest.raises(JobFailedError) as raised:
                await parent.result(timeout=PATIENCE)
        assert raised.value.reason is DeadReason.CHILD
