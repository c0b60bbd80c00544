"""Redis Cluster: the keys of a service lie together, its scripts are on every node."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from app.infrastructure.queue import JobContext, JobFailedError, JobState, Schedule, job, waiting
from app.infrastructure.queue.signals import LONGEST_CONFIRM
from app.infrastructure.queue.testing import StartJobs
from tests.infrastructure.redis.cluster import running_cluster

pytestmark = pytest.mark.slow
PATIENCE = 20.0
cluster = pytest.fixture(scope="module")(running_cluster)


@pytest.fixture
def redis_url(cluster: str) -> str:
    """Everything in these tests uses the cluster."""
    return cluster


@job("double")
async def double(value: int) -> int:
    return 2 * value


@job("slow")
async def slow(value: int) -> int:
    await asyncio.sleep(2 * LONGEST_CONFIRM)
    return value


@job("fail", attempts=2)
async def fail(value: int, context: JobContext) -> None:
    raise ValueError(value, context.attempt)


@job("sum")
async def total(context: JobContext) -> int:
    return sum((await context.children_results()).values())


async def test_jobs_are_done_on_a_cluster(job_service: StartJobs) -> None:
    """Batches, delays, priorities, failures, replay, children, cancelling, schedules."""
    ticks = Schedule(key="tick", job="double", every=timedelta(milliseconds=300), payload=1)
    async with job_service([double, fail, total, ticks]) as running:
        jobs = running.jobs
        handles = await jobs.publish_many([jobs.prepare(double, n) for n in range(50)])
        assert [await handle.result(timeout=PATIENCE) for handle in handles[:5]] == [0, 2, 4, 6, 8]
        late = await jobs.publish(double, 4, delay=timedelta(milliseconds=200), priority=3)
        assert await late.result(timeout=PATIENCE) == 8
        dead = await jobs.publish(fail, 1)
        with pytest.raises(JobFailedError):
            await dead.result(timeout=PATIENCE)
        await running.admin.replay("default", dead.id)
        with pytest.raises(JobFailedError):
            await dead.result(timeout=PATIENCE)
        children = [jobs.prepare(double, n) for n in (1, 2)]
        parent = await jobs.publish_after(jobs.prepare(total), children)
        assert await parent.result(timeout=PATIENCE) == 6
        never = await jobs.publish(double, 1, delay=timedelta(hours=1))
        assert await never.cancel()
        assert await never.state() is JobState.DEAD
        await jobs.unschedule("default", "tick")


async def test_word_of_an_end_comes_on_a_cluster(
    job_service: StartJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits is told, and need not look again."""
    async with job_service([slow]) as running:
        monkeypatch.setattr(waiting, "LOOK_AGAIN", (10 * PATIENCE,))
        for number in range(2):  # of the first on its own channel, of the second on the process's
            handle = await running.jobs.publish(slow, number)
            assert await handle.result(timeout=PATIENCE) == number
