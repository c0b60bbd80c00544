"""What becomes of a schedule, whose next job lies in the queue."""

from __future__ import annotations

import asyncio

import pytest

from app.infrastructure.queue import Schedule, job
from app.infrastructure.queue.events import JobStarted
from app.infrastructure.queue.testing import StartJobs

PATIENCE = 60.0


@pytest.fixture
def queue_engine() -> str:
    """This engine alone."""
    return "bullmq"


@job("tick")
async def tick(_value: int) -> None:
    pass


async def test_a_schedule_goes_on_when_its_next_job_is_cancelled(job_service: StartJobs) -> None:
    """Stock BullMQ adds the one after it when it is taken; and workers could not start."""
    schedule = Schedule(key="often", job="tick", payload=1, cron="*/2 * * * * *")
    async with job_service([tick], work=False) as publisher:
        await publisher.jobs.schedule(schedule)
        (record,) = await publisher.engine.schedules("default")
        assert record.next_at
        name = f"repeat:often:{round(record.next_at.timestamp() * 1000)}"
        assert await publisher.engine.cancel("default", name)
        async with job_service([tick, schedule]) as running, asyncio.timeout(PATIENCE):
            while not running.told(JobStarted):  # noqa: ASYNC110 - of jobs
                await asyncio.sleep(0.02)
            assert name not in {event.id for event in running.told(JobStarted)}
