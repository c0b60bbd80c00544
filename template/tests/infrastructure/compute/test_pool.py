"""A real API process with a pool of real worker processes: what survives what."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.infrastructure.compute.decorator import QUEUE
from app.infrastructure.queue import JobState
from app.infrastructure.queue.testing import StartJobs
from app.infrastructure.redis.keys import KeySpace
from tests.infrastructure.compute.conftest import (
    PATIENCE,
    PROGRAM,
    Ledger,
    Serve,
    environment,
    until,
)

pytestmark = pytest.mark.slow


def lives(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def variables(pid: int) -> list[str]:
    """Return the environment a process was started with."""
    return Path(f"/proc/{pid}/environ").read_text(encoding="utf-8").split("\0")


async def test_the_pool_grows_shrinks_and_ends_with_its_api(serve: Serve, ledger: Ledger) -> None:
    """Up to the maximum while jobs wait, back to the minimum when idle, to nothing at the end."""
    async with serve(compute_min_workers=1, compute_max_workers=2, compute_idle_seconds=1) as api:
        found = await api.workers(idle=1)
        assert (found["status"], found["restarts"], found["pending"]) == ("up", 0, 0)
        assert "Maths.burn" in found["handlers"]
        (first,) = await api.pids()
        assert os.getpriority(os.PRIO_PROCESS, first) == 1
        # It computes: it keeps no event and no row of the outbox waiting.
        assert "APP_SIDE_WORK=false" in variables(first)
        seen = asyncio.Event()

        async def load() -> set[int]:
            """Compute until the pool has grown, on whatever slow machine."""
            by = set()
            while not seen.is_set():
                by.add(await api.burn(0.3, "job"))
            return by

        loads = [asyncio.create_task(load()) for _ in range(6)]
        found = await api.workers(running=2)
        assert 0 < found["active"] <= 2
        pids = await api.pids()
        seen.set()
        assert len(pids) == 2
        assert set().union(*await asyncio.gather(*loads)) == {*pids}
        assert os.getpid() not in pids
        await api.until(lambda found: found["workers"]["idle"] == 1 and _size(found) == 1)
        (left,) = await api.pids()
        assert left in pids
        assert await api.end() == 0
        assert not any(lives(pid) for pid in pids)
        assert ledger.count("start") == ledger.count("end")


async def test_a_killed_worker_is_replaced_and_its_job_runs_again(
    serve: Serve, ledger: Ledger
) -> None:
    """The caller who waits notices nothing but the time it takes."""
    async with serve(compute_min_workers=2, compute_max_workers=2) as api:
        await api.workers(idle=2)
        call = asyncio.create_task(api.burn(2.0, "killed"))
        await until(lambda: bool(ledger.count("start")))
        (victim,) = ledger.pids()
        os.kill(victim, signal.SIGKILL)
        other = await call
        assert other != victim
        assert ledger.count("start") == {"killed": 2}
        assert ledger.count("end") == {"killed": 1}
        found = await api.until(lambda found: _size(found) == 2 and found["restarts"] == 1)
        assert found["status"] == "up"
        assert victim not in await api.pids()


async def test_an_api_that_ends_under_load_loses_nothing(
    serve: Serve, ledger: Ledger, job_service: StartJobs, engine_environment: Mapping[str, str]
) -> None:
    """Requests in flight are answered, running jobs end, waiting ones stay for another worker."""
    assert engine_environment
    async with serve(compute_min_workers=1, compute_max_workers=1, shutdown_grace=25) as api:
        await api.workers(idle=1)
        calls = [asyncio.create_task(api.burn(1.5, f"call-{number}")) for number in range(4)]
        left = [await api.client.post("/leave", params={"number": n}) for n in range(20)]
        await until(lambda: bool(ledger.count("start")))
        began = time.monotonic()
        assert await api.end() == 0
        assert time.monotonic() - began < 25
        assert len(await asyncio.gather(*calls)) == 4
        assert ledger.count("start") == ledger.count("end")
    async with job_service(work=False) as looker:
        counts = await looker.engine.counts(QUEUE)
        assert counts[JobState.ACTIVE] == counts[JobState.DEAD] == 0
        assert counts[JobState.WAITING] + counts[JobState.COMPLETED] == 4 + len(left)


async def test_a_cancelled_thread_is_left_with_its_process(serve: Serve, ledger: Ledger) -> None:
    """A thread can't be interrupted: the process is replaced, and the processor is free again."""
    async with serve(compute_min_workers=1, compute_max_workers=1) as api:
        await api.workers(idle=1)
        (first,) = await api.pids()
        answer = await api.client.post("/hang")
        assert answer.status_code == 500
        assert ledger.pids() == [first]
        began = time.monotonic()
        assert await api.burn(0.1, "next") != first
        assert time.monotonic() - began < PATIENCE
        await until(lambda: not lives(first))


async def test_a_worker_elsewhere_shares_the_load(
    serve: Serve,
    ledger: Ledger,
    redis_url: str,
    keys: KeySpace,
    engine_environment: Mapping[str, str],
) -> None:
    """`APP_ROLE=worker` on the queue is all it takes; this API has no process at all meanwhile."""
    settings = {"app_role": "worker", "worker_queues": QUEUE, "worker_concurrency": 1}
    env = environment(redis_url, keys, engine_environment, ledger, settings)
    elsewhere = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), "work", env=env)
    try:
        async with serve(compute_min_workers=1, compute_max_workers=1) as api:
            await api.workers(idle=1)
            (own,) = await api.pids()
            seen: set[int] = set()

            async def both_have_worked() -> bool:
                seen.update(await asyncio.gather(*(api.burn(0.2, "job") for _ in range(3))))
                return seen == {own, elsewhere.pid}

            await until(both_have_worked)
    finally:
        elsewhere.terminate()
        assert await elsewhere.wait() == 0


async def test_of_several_api_processes_one_has_the_pool(serve: Serve) -> None:
    """Another takes it over when that one is killed; its orphans end by themselves."""
    settings = {"compute_min_workers": 1, "compute_max_workers": 1}
    async with serve(**settings) as one, serve(**settings) as other:
        found = await other.workers(idle=1)
        assert found["pools"] == 1
        pids = {api: await api.pids() for api in (one, other)}
        owner, heir = (one, other) if pids[one] else (other, one)
        (orphan,) = pids[owner]
        assert pids[heir] == []
        owner.process.kill()
        await until(lambda: not lives(orphan))
        new = await heir.burn(0.1, "after")
        assert await heir.pids() == [new]


async def test_processes_that_die_at_once_are_started_ever_more_rarely(serve: Serve) -> None:
    """And that can be seen; requests that do not compute are answered as before."""
    async with serve(
        compute_min_workers=1, compute_max_workers=1, pool_runs="die", pool_exit=7
    ) as api:
        found = await api.until(lambda found: found["restarts"] >= 3)
        assert found["status"] == "degraded"
        assert found["workers"]["starting"] == 1
        assert (await api.client.get("/cheap")).json() == "cheap"


async def test_processes_that_refuse_to_start_are_not_hurried(serve: Serve) -> None:
    """Their settings would have to be changed: half a minute is soon enough."""
    async with serve(
        compute_min_workers=1, compute_max_workers=1, pool_runs="die", pool_exit=3
    ) as api:
        found = await api.until(lambda found: found["restarts"] >= 1)
        assert found["status"] == "degraded"
        await asyncio.sleep(1.0)
        assert (await api.health())["restarts"] == 1


def _size(found: dict[str, object]) -> int:
    workers = found["workers"]
    assert isinstance(workers, dict)
    return sum(workers.values())
