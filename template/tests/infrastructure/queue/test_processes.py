"""Real worker processes, real signals: what survives them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from app.infrastructure.queue import DeadReason, JobFailedError, JobState
from app.infrastructure.queue.testing import StartJobs
from tests.infrastructure.queue.conftest import PATIENCE, Ledger, Processes

pytestmark = pytest.mark.slow


async def test_a_killed_worker_s_jobs_run_elsewhere(
    job_service: StartJobs, processes: Processes, ledger: Ledger
) -> None:
    """Killed twice, the third attempt does it: a crash costs an attempt, not the job."""
    async with job_service(work=False) as publisher:
        handle = await publisher.jobs.publish("work", 1.0, attempts=3)
        for kill in (1, 2):
            async with processes() as process:
                await ledger.until(partial(ledger.has_started, kill))
                process.kill()
                process.wait()
        async with processes():
            assert await handle.result(timeout=PATIENCE) == handle.id
        assert ledger.count("start")[handle.id] == 3
        assert ledger.count("effect")[handle.id] == 1


async def test_a_job_that_kills_its_worker_dies_alone(
    job_service: StartJobs, processes: Processes, ledger: Ledger
) -> None:
    """Exactly its attempts, and none of the others dies with it."""
    async with job_service(work=False) as publisher:
        jobs = publisher.jobs
        innocent = [jobs.prepare("work", 0.2, attempts=1) for _ in range(30)]
        culprits = [jobs.prepare("crash", how, attempts=3) for how in ("exit", "segfault")]
        handles = await jobs.publish_many([*innocent[:10], *culprits, *innocent[10:]])
        async with processes(
            "supervisor", worker_processes=2, worker_concurrency=5, worker_grace=5
        ):
            for handle in handles:
                if handle.id in {job.id for job in culprits}:
                    with pytest.raises(JobFailedError) as raised:
                        await handle.result(timeout=PATIENCE)
                    assert raised.value.reason is DeadReason.STALLED
                else:
                    await handle.result(timeout=PATIENCE)
        starts = ledger.count("start")
        assert [starts[job.id] for job in culprits] == [3, 3]
        assert set(ledger.count("effect")) == {job.id for job in innocent}


async def test_sigterm_lets_jobs_end_and_loses_none(
    job_service: StartJobs, processes: Processes, ledger: Ledger
) -> None:
    """Those that run are finished, those that were not started stay for another worker."""
    async with job_service(work=False) as publisher:
        jobs = publisher.jobs
        await jobs.publish_many([jobs.prepare("work", 0.3) for _ in range(12)])
        async with processes(worker_concurrency=4) as process:
            await ledger.until(partial(ledger.has_started, 4))
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, PATIENCE) == 0
        assert ledger.count("start") == ledger.count("effect")
        counts = await publisher.engine.counts("default")
        assert counts[JobState.ACTIVE] == 0
        assert counts[JobState.COMPLETED] == len(ledger.count("effect"))
        assert counts[JobState.COMPLETED] + counts[JobState.WAITING] == 12


async def test_a_job_longer_than_the_grace_is_given_back(
    job_service: StartJobs, processes: Processes, ledger: Ledger
) -> None:
    """Once; the process ends in time, and the start does not count."""
    async with job_service(work=False) as publisher:
        handle = await publisher.jobs.publish("work", 600.0)
        async with processes(worker_grace=2) as process:
            await ledger.until(partial(ledger.has_started, 1))
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, PATIENCE) == 0
        record = await handle.record()
        assert (record.state, record.starts) == (JobState.WAITING, 0)


async def test_a_job_given_back_when_it_ran_alone_is_not_the_culprit(
    job_service: StartJobs, processes: Processes, ledger: Ledger
) -> None:
    """Its first worker was killed, its second one was stopped; a third one does it."""
    async with job_service(work=False) as publisher:
        handle = await publisher.jobs.publish("work", 4.0, attempts=1)
        for starts, number in ((1, signal.SIGKILL), (2, signal.SIGTERM)):
            async with processes(worker_grace=3) as process:
                await ledger.until(partial(ledger.has_started, starts))
                process.send_signal(number)
                await asyncio.to_thread(process.wait, PATIENCE)
        async with processes():
            assert await handle.result(timeout=PATIENCE) == handle.id


async def test_a_handler_that_blocks_the_loop_runs_once(
    job_service: StartJobs, processes: Processes, ledger: Ledger
) -> None:
    """Longer than the lock lasts, with another worker waiting for it."""
    async with job_service(work=False) as publisher:
        handle = await publisher.jobs.publish("block", 5.0)
        async with processes(), processes():
            await handle.result(timeout=PATIENCE)
        assert ledger.count("start")[handle.id] == 1


async def test_a_supervisor_replaces_and_stops_its_processes(
    job_service: StartJobs, processes: Processes, ledger: Ledger
) -> None:
    """A worker that is killed is followed by another one."""
    async with job_service(work=False) as publisher:
        jobs = publisher.jobs
        async with processes(
            "supervisor", worker_processes=2, worker_concurrency=1, worker_grace=5
        ) as process:
            first = set[int]()
            async with asyncio.timeout(PATIENCE):
                while len(first) < 2:  # one may be ready long before the other
                    pair = [jobs.prepare("work", 0.5) for _ in range(2)]
                    for handle in await jobs.publish_many(pair):
                        await handle.result(timeout=PATIENCE)
                    first = {int(words[2]) for words in ledger.lines()}
            for pid in first:
                os.kill(pid, signal.SIGKILL)
            handle = await jobs.publish("work", 0.1)
            await handle.result(timeout=PATIENCE)
            assert int(ledger.lines()[-1][2]) not in first
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, PATIENCE) == 0


async def test_a_worker_ends_whose_parent_was_gone_before_it_had_started(
    processes: Processes,
) -> None:
    """Nobody else would end it."""
    async with processes("supervisor", worker_processes=1, worker_grace=5) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        async with asyncio.timeout(PATIENCE):
            while not (found := children.read_text().split()):  # noqa: ASYNC110, ASYNC240 - of another process
                await asyncio.sleep(0.01)
            process.kill()
            process.wait()
            while Path(f"/proc/{found[0]}").exists():  # noqa: ASYNC110, ASYNC240 - of another process
                await asyncio.sleep(0.05)


async def test_a_worker_ends_when_its_parent_is_gone(
    job_service: StartJobs, processes: Processes, ledger: Ledger
) -> None:
    """Also when nobody could pass on a signal."""
    async with job_service(work=False) as publisher:
        handle = await publisher.jobs.publish("work", 0.1)
        async with processes("supervisor", worker_processes=1, worker_grace=5) as process:
            await handle.result(timeout=PATIENCE)
            (pid,) = {int(words[2]) for words in ledger.lines()}
            process.kill()
            process.wait()
            started = time.monotonic()
            while Path(f"/proc/{pid}").exists() and time.monotonic() - started < PATIENCE:  # noqa: ASYNC110, ASYNC240 - of another process
                await asyncio.sleep(0.05)
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
