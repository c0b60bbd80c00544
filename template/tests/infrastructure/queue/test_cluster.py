"""Redis Cluster: the keys of a service lie together, its scripts are on every node."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.infrastructure.queue import JobContext, JobFailedError, JobState, Schedule, job
from app.infrastructure.queue.testing import StartJobs
from app.infrastructure.redis.embedded import binary
from tests.infrastructure.redis.test_servers import free_port

pytestmark = pytest.mark.slow
NODES = 3
SLOTS = 16_384
PATIENCE = 20.0


def _ask(node: Any, *words: str | int) -> Any:
    return node.execute_command(*words)


def _is_whole(node: Redis) -> bool:
    said = str(_ask(node, "CLUSTER", "INFO"))
    return "cluster_state:ok" in said and f"cluster_known_nodes:{NODES}" in said


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Three nodes with a third of the slots each; their URL."""
    processes: list[subprocess.Popen[bytes]] = []
    nodes: list[Redis] = []
    ports = [(free_port(), free_port()) for _ in range(NODES)]
    try:
        for port, bus in ports:
            folder: Path = tmp_path_factory.mktemp("node")
            words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
            words += ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--save", ""]
            processes.append(subprocess.Popen([binary(), *words], stdout=subprocess.DEVNULL))
            nodes.append(Redis(port=port))
        deadline = time.monotonic() + PATIENCE
        for number, node in enumerate(nodes):
            _until_up(node, deadline)
            first, last = (SLOTS * place // NODES for place in (number, number + 1))
            _ask(node, "CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            if number:
                _ask(node, "CLUSTER", "MEET", "127.0.0.1", *ports[0])
        while not all(map(_is_whole, nodes)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"redis+cluster://127.0.0.1:{ports[0][0]}"
    finally:
        for node in nodes:
            node.close()
        for process in processes:
            process.kill()
            process.wait()


def _until_up(node: Redis, deadline: float) -> None:
    while True:
        try:
            node.ping()
        except (OSError, RedisConnectionError):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def redis_url(cluster: str) -> str:
    """Everything in these tests uses the cluster."""
    return cluster


@job("double")
async def double(value: int) -> int:
    return 2 * value


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
