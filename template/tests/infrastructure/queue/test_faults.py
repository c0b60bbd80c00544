"""A broker that dies, hangs, refuses or holds nonsense: nothing is lost, nobody waits for ever."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.infrastructure.logger.testing import LogLines
from app.infrastructure.queue import (
    DeadReason,
    JobContext,
    JobState,
    QueueLimits,
    QueueUnavailableError,
    Schedule,
    job,
    patience,
)
from app.infrastructure.queue.events import JobDied, JobStarted
from app.infrastructure.queue.testing import JobService, StartJobs
from tests.infrastructure.queue.conftest import Ledger, Processes
from tests.infrastructure.redis.server import Broker

pytestmark = pytest.mark.slow
PATIENCE = 60.0
UNENDED = (JobState.WAITING, JobState.DELAYED, JobState.ACTIVE)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A server that may be mistreated."""
    started = Broker(tmp_path)
    yield started
    started.kill()


@pytest.fixture
def redis_url(broker: Broker) -> str:
    """Everything in these tests uses the test's own server."""
    return f"redis://127.0.0.1:{broker.port}"


@pytest.fixture
def job_service(job_service: StartJobs) -> StartJobs:
    """Services that notice soon when a broker is away."""
    return partial(job_service, queue_publish_timeout=2.0)


@job("echo")
async def echo(value: int) -> int:
    return value


async def test_a_job_after_a_long_silence_is_taken_at_once(job_service: StartJobs) -> None:
    """Longer than any client's timeout for one command."""
    async with job_service([echo]) as running:
        await asyncio.sleep(12)
        handle = await running.jobs.publish(echo, 1)
        assert await handle.result(timeout=1.0) == 1


async def test_publishing_without_a_broker_fails_soon_and_clearly(
    job_service: StartJobs, broker: Broker
) -> None:
    """And works again once it is back."""
    async with job_service([echo], work=False) as running:
        await running.jobs.publish(echo, 1)
        broker.kill()
        async with asyncio.timeout(5):
            with pytest.raises(QueueUnavailableError):
                await running.jobs.publish(echo, 2)
        broker.start()
        await running.jobs.publish(echo, 3)
        assert (await running.engine.counts("default"))[JobState.WAITING] == 2


async def test_a_frozen_broker_leaves_exactly_one_job(
    job_service: StartJobs, broker: Broker
) -> None:
    """Whoever got no answer publishes the same id again."""
    async with job_service([echo], work=False, queue_publish_timeout=1.0) as running:
        await running.jobs.publish(echo, 0, id="before")
        broker.freeze()
        try:
            with pytest.raises(QueueUnavailableError):
                await running.jobs.publish(echo, 1, id="once")
        finally:
            broker.thaw()
        await running.jobs.publish(echo, 1, id="once")
        await asyncio.sleep(0.5)
        assert (await running.engine.counts("default"))[JobState.WAITING] == 2


async def test_work_goes_on_after_the_broker_was_killed(
    job_service: StartJobs, broker: Broker
) -> None:
    """Each job that was acknowledged is done."""
    done: set[int] = set()

    @job("mark", attempts=9)
    async def mark(value: int) -> None:
        await asyncio.sleep(0.02)
        done.add(value)

    async with job_service([mark]) as running:
        published: list[int] = []
        for value in range(150):
            if value in {40, 90}:
                broker.kill()
                await asyncio.sleep(0.3)
                broker.start()
            try:
                await running.jobs.publish(mark, value)
            except QueueUnavailableError:
                continue
            published.append(value)
        async with asyncio.timeout(PATIENCE):
            while not done >= set(published):  # noqa: ASYNC110 - two processes and a broker
                await asyncio.sleep(0.05)
        assert len(published) > 140


async def test_losing_the_broker_is_one_line_however_many_jobs_run(
    job_service: StartJobs, broker: Broker, log_lines: LogLines
) -> None:
    """And so is having it again."""
    everybody = asyncio.Event()
    runs = 0

    @job("many", attempts=9)
    async def many(value: int) -> int:
        nonlocal runs
        runs += 1
        await everybody.wait()
        return value

    async with job_service([many], worker_concurrency=20, queue_lock=30.0) as running:
        jobs = running.jobs
        handles = await jobs.publish_many([jobs.prepare(many, n) for n in range(20)])
        async with asyncio.timeout(PATIENCE):
            while runs < 20:  # noqa: ASYNC110 - jobs of a worker
                await asyncio.sleep(0.02)
        began = time.monotonic()
        broker.kill()
        everybody.set()
        await asyncio.sleep(3.0)
        broker.start()
        for handle in handles:
            await handle.result(timeout=PATIENCE)
        seconds = time.monotonic() - began
    told = [line["message"] for line in log_lines if line["level"] in {"INFO", "WARNING"}]
    assert any("trying again until the broker answers" in text for text in told)
    away = [text for text in told if "the broker" in text or "locks" in text]
    assert len(away) <= seconds + 1


async def test_nobody_says_that_a_frozen_broker_answers(
    job_service: StartJobs, broker: Broker, log_lines: LogLines
) -> None:
    """Though a connection may be there."""
    again = "the broker answers again"
    async with job_service([echo], queue_lock=15.0) as running:
        await (await running.jobs.publish(echo, 1)).result(timeout=PATIENCE)
        broker.freeze()
        log_lines.clear()
        try:
            await asyncio.sleep(7)
            told = [line["message"] for line in log_lines if again in line["message"]]
        finally:
            broker.thaw()
        await (await running.jobs.publish(echo, 2)).result(timeout=PATIENCE)
    assert told == []


async def test_sigterm_ends_a_worker_whose_broker_is_frozen(
    job_service: StartJobs, processes: Processes, ledger: Ledger, broker: Broker
) -> None:
    """Within its grace, whatever hangs; the job is begun again elsewhere."""
    async with job_service(work=False) as publisher:
        handle = await publisher.jobs.publish("work", 3.0, attempts=3)
        async with processes(worker_grace=2.0) as process:
            await ledger.until(partial(ledger.has_started, 1))
            broker.freeze()
            try:
                process.send_signal(signal.SIGTERM)
                began = time.monotonic()
                await asyncio.to_thread(process.wait, PATIENCE)
                assert time.monotonic() - began < 4.0
            finally:
                broker.thaw()
        async with processes():
            assert await handle.result(timeout=PATIENCE) == handle.id
    assert ledger.count("effect")[handle.id] == 1


async def test_a_worker_that_hears_nothing_is_not_healthy(
    job_service: StartJobs, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever watches it can act."""
    monkeypatch.setattr(patience, "SILENT_SECONDS", 3.0)
    async with job_service([echo]) as running:
        assert running.worker.silent_queues() == []
        broker.freeze()
        try:
            await asyncio.sleep(4)
            assert running.worker.silent_queues() == ["default"]
        finally:
            broker.thaw()
        handle = await running.jobs.publish(echo, 1)
        await handle.result(timeout=PATIENCE)
        assert running.worker.silent_queues() == []


async def test_a_worker_whose_places_are_all_taken_is_healthy(
    job_service: StartJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for nothing then, and hears of the broker all the same."""
    monkeypatch.setattr(patience, "SILENT_SECONDS", 1.5)
    go_on = asyncio.Event()

    @job("long")
    async def long() -> None:
        await go_on.wait()

    async with job_service([long], worker_concurrency=1) as running:
        handle = await running.jobs.publish(long)
        await asyncio.sleep(2.5)
        async with asyncio.timeout(PATIENCE):  # of a machine that stood still it hears in a moment
            while running.worker.silent_queues():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        go_on.set()
        await handle.result(timeout=PATIENCE)


async def test_a_broker_without_memory_is_a_clear_error(
    job_service: StartJobs, redis: Redis
) -> None:
    """Nothing is dropped silently, and it recovers."""
    async with job_service([echo], work=False) as running:
        await redis.config_set("maxmemory", "1")
        with pytest.raises(QueueUnavailableError, match="memory"):
            await running.jobs.publish(echo, 1)
        await redis.config_set("maxmemory", "0")
        await running.jobs.publish(echo, 2)


async def test_a_queue_s_rate_is_kept_over_all_workers(job_service: StartJobs) -> None:
    """40 jobs at 10 a second take three seconds: the first ten start at once."""
    starts: list[float] = []

    @job("limited")
    async def limited(value: int) -> int:
        starts.append(time.monotonic())
        return value

    limits = QueueLimits(queue="default", rate=10, per=timedelta(seconds=1))
    async with job_service([limited, limits]) as first, job_service([limited, limits]):
        jobs = first.jobs
        handles = await jobs.publish_many([jobs.prepare(limited, n) for n in range(40)])
        for handle in handles:
            await handle.result(timeout=PATIENCE)
    starts.sort()
    for number in range(30):
        assert starts[number + 10] - starts[number] > 0.5
    assert starts[-1] - starts[0] < 10


async def test_a_queue_s_concurrency_is_kept_over_all_workers(job_service: StartJobs) -> None:
    """Two workers of ten places each, two jobs at once."""
    now = most = 0

    @job("counted")
    async def counted(_value: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.03)
        now -= 1

    limits = QueueLimits(queue="default", concurrency=2)
    async with job_service([counted, limits]) as first, job_service([counted, limits]):
        jobs = first.jobs
        handles = await jobs.publish_many([jobs.prepare(counted, n) for n in range(20)])
        for handle in handles:
            await handle.result(timeout=PATIENCE)
    assert most == 2


async def is_idle(running: JobService) -> bool:
    """Tell whether no job of the queue has still to end."""
    counts = await running.engine.counts("default")
    return not any(counts[state] for state in UNENDED)


async def test_a_schedule_fires_once_however_many_workers_run(job_service: StartJobs) -> None:
    """By interval and by cron; it can be listed and removed."""
    ticks: dict[str, list[str]] = {"interval": [], "cron": []}

    @job("tick")
    async def tick(kind: str, context: JobContext) -> None:
        ticks[kind].append(context.job.id)

    interval = Schedule(
        key="often", job="tick", payload="interval", every=timedelta(milliseconds=250)
    )
    cron = Schedule(key="each-second", job="tick", payload="cron", cron="* * * * * *")
    contributes = [tick, interval, cron]
    began = time.monotonic()
    async with job_service(contributes) as first, job_service(contributes):
        async with asyncio.timeout(PATIENCE):
            while len(ticks["interval"]) < 12 or len(ticks["cron"]) < 4:  # noqa: ASYNC110 - of jobs
                await asyncio.sleep(0.02)
        listed = {record.key: record for record in await first.admin.schedules()}
        assert listed.keys() == {"often", "each-second"}
        assert (listed["often"].every, listed["each-second"].cron) == (
            timedelta(milliseconds=250),
            "* * * * * *",
        )
        assert await first.jobs.unschedule("default", "often")
        assert await first.jobs.unschedule("default", "each-second")
        assert not await first.jobs.unschedule("default", "often")
        seconds = time.monotonic() - began
        await asyncio.sleep(0.3)
        async with asyncio.timeout(PATIENCE):  # until what was begun before that has ended
            while not await is_idle(first):  # noqa: ASYNC110 - of jobs
                await asyncio.sleep(0.02)
        before = {kind: len(ids) for kind, ids in ticks.items()}
        await asyncio.sleep(1.2)
        assert {kind: len(ids) for kind, ids in ticks.items()} == before
    for ids in ticks.values():
        assert len(ids) == len(set(ids))
    moments = sorted(int(job_id.rpartition(":")[2]) for job_id in ticks["interval"])
    assert all(later - earlier >= 250 for earlier, later in pairwise(moments))
    assert len(ticks["interval"]) <= seconds / 0.25 + 1
    assert len(ticks["cron"]) <= seconds + 1


async def test_a_schedule_makes_up_for_what_was_missed(job_service: StartJobs) -> None:
    """Put again by a worker that starts, it goes on with the moment nobody was there for."""
    ticks: list[str] = []

    @job("tick")
    async def tick(_value: int, context: JobContext) -> None:
        ticks.append(context.job.id)

    schedule = Schedule(key="missed", job="tick", payload=1, cron="*/3 * * * * *")
    async with job_service([tick], work=False) as publisher:
        await publisher.jobs.schedule(schedule)
        (record,) = await publisher.engine.schedules("default")
        assert record.next_at
        due = round(record.next_at.timestamp() * 1000)
        await asyncio.sleep(3.2)
        async with job_service([tick, schedule]), asyncio.timeout(PATIENCE):
            while not ticks:  # noqa: ASYNC110 - of jobs
                await asyncio.sleep(0.02)
    assert ticks[0] == f"repeat:missed:{due}"


async def test_a_schedule_s_job_is_as_old_as_it_is_late(job_service: StartJobs) -> None:
    """`expires_in` counts from the moment it is for, whenever its engine has put it there."""

    @job("tick")
    async def tick(_value: int) -> None:
        pass

    schedule = Schedule(
        key="soon",
        job="tick",
        payload=1,
        every=timedelta(seconds=3),
        options={"expires_in": timedelta(seconds=2.8)},
    )
    async with job_service([tick, schedule]) as running, asyncio.timeout(PATIENCE):
        while len(running.told(JobStarted)) < 3:  # noqa: ASYNC110 - of jobs
            await asyncio.sleep(0.02)
        assert running.told(JobDied) == []


async def test_what_was_missed_for_too_long_expires(job_service: StartJobs) -> None:
    @job("tick")
    async def tick(_value: int) -> None:
        pass

    schedule = Schedule(
        key="missed",
        job="tick",
        payload=1,
        cron="*/2 * * * * *",
        options={"expires_in": timedelta(seconds=1)},
    )
    async with job_service([tick], work=False) as publisher:
        await publisher.jobs.schedule(schedule)
        await asyncio.sleep(3.2)
        async with job_service([tick, schedule]) as running, asyncio.timeout(PATIENCE):
            while not running.told(JobDied):  # noqa: ASYNC110 - of jobs
                await asyncio.sleep(0.02)
            first = running.told(JobDied)[0]
            assert isinstance(first, JobDied)
            assert first.reason is DeadReason.EXPIRED


async def test_schedules_of_a_paused_queue_do_not_pile_up(job_service: StartJobs) -> None:
    """One job is made up for afterwards."""

    @job("tick")
    async def tick(_value: int) -> None:
        pass

    often = Schedule(key="often", job="tick", payload=1, every=timedelta(milliseconds=100))
    async with job_service([tick]) as running:
        await running.admin.pause("default")
        await running.jobs.schedule(often)
        await asyncio.sleep(2.5)
        counts = await running.engine.counts("default")
        assert counts[JobState.WAITING] <= 1
        await running.admin.resume("default")
        async with asyncio.timeout(PATIENCE):
            while len(running.told(JobStarted)) < 2:  # noqa: ASYNC110 - of jobs
                await asyncio.sleep(0.02)
