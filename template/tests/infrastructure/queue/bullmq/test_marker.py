"""The marker wakes who waits; jobs do not depend on it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from app.infrastructure.queue import job
from app.infrastructure.queue.bullmq import watch
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


@pytest.mark.parametrize("delayed", [False, True])
async def test_a_marker_that_is_lost_keeps_no_job_waiting(
    job_service: StartJobs,
    redis: Redis,
    keys: KeySpace,
    monkeypatch: pytest.MonkeyPatch,
    delayed: bool,
) -> None:
    """Whoever popped it may have died. A delayed job that is far away changes nothing."""
    monkeypatch.setattr(watch, "LONGEST_WAIT", 0.2)
    client: Any = redis
    async with job_service([echo]) as running:
        if delayed:
            await running.jobs.publish(echo, 1, delay=timedelta(hours=1))
        await asyncio.sleep(0.5)
        # Redis serves who has waited longest, and the worker asks again all the time.
        taken = asyncio.create_task(client.bzpopmin(f"{{{keys.prefix}}}:default:marker", 4))
        await asyncio.sleep(0.5)
        handle = await running.jobs.publish(echo, 2)
        assert await taken is not None
        assert await handle.result(timeout=PATIENCE) == 2
