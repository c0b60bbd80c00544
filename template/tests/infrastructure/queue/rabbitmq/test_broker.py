"""A broker that dies, hangs, refuses, forgets a subscription: nothing is lost, work goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiormq import Channel

from app.infrastructure.logger.testing import LogLines
from app.infrastructure.queue import (
    JobHandle,
    JobQueue,
    JobState,
    QueueUnavailableError,
    job,
    patience,
)
from app.infrastructure.queue.rabbitmq.testing import SERVER_VARIABLE
from app.infrastructure.queue.rabbitmq.topology import lane
from app.infrastructure.queue.testing import StartJobs
from app.infrastructure.redis.keys import KeySpace

from .node import NONE_HERE, Node, program
from .proxy import Proxy

pytestmark = pytest.mark.slow
PATIENCE = 60.0
HANG = 15.0
"""Seconds what ends after two by itself may take where the machine is busy."""


@job("echo")
async def echo(value: int) -> int:
    return value


@pytest.fixture
def job_service(job_service: StartJobs) -> StartJobs:
    """Services that notice soon when a broker is away."""
    return partial(job_service, queue_publish_timeout=2.0)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node that may be mistreated; the service uses it."""
    if program() is None:
        pytest.skip(NONE_HERE)
    started = Node(tmp_path / "node")
    started.start()
    monkeypatch.setenv(SERVER_VARIABLE, started.url)
    yield started
    started.stop()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Node]]:
    """Three nodes, of which the service knows all."""
    if program() is None:
        pytest.skip(NONE_HERE)
    nodes = [first := Node(tmp_path / "0"), *(Node(tmp_path / name, first) for name in "12")]
    try:
        with ThreadPoolExecutor() as threads:
            list(threads.map(Node.start, nodes))
        for other in nodes[1:]:
            other.join(first)
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        account = urlsplit(first.url).netloc.rpartition("@")[0]
        monkeypatch.setenv(SERVER_VARIABLE, f"amqp://{account}@{hosts}/")
        yield nodes
    finally:
        for node in reversed(nodes):
            node.stop()


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch, rabbitmq_url: str) -> AsyncIterator[Proxy]:
    """A way to the tests' broker that can be cut; the service uses it."""
    parts = urlsplit(rabbitmq_url)
    async with Proxy(parts.port or 5672).running() as running:
        account = parts.netloc.rpartition("@")[0]
        url = f"{parts.scheme}://{account}@127.0.0.1:{running.port}{parts.path}"
        monkeypatch.setenv(SERVER_VARIABLE, url)
        yield running
        monkeypatch.setenv(SERVER_VARIABLE, rabbitmq_url)


async def until(done: set[int], wanted: set[int]) -> None:
    """Wait until all of `wanted` are done."""
    async with asyncio.timeout(PATIENCE):
        while not done >= wanted:  # noqa: ASYNC110 - a worker and a broker
            await asyncio.sleep(0.05)


async def patiently(jobs: JobQueue) -> JobHandle[int]:
    """Publish a job as soon as that is possible."""
    while True:
        try:
            return await jobs.publish(echo, 3)
        except QueueUnavailableError:
            await asyncio.sleep(0.1)


async def test_work_goes_on_after_the_broker_was_killed(node: Node, job_service: StartJobs) -> None:
    """Each job that was confirmed is done; publishing fails soon meanwhile."""
    done: set[int] = set()

    @job("mark", attempts=9)
    async def mark(value: int) -> None:
        await asyncio.sleep(0.02)
        done.add(value)

    published: set[int] = set()
    async with job_service([mark]) as running:
        for value in range(150):
            if value == 60:
                await asyncio.to_thread(node.kill)
                began = time.monotonic()
                with pytest.raises(QueueUnavailableError):
                    await running.jobs.publish(mark, 1000)
                assert time.monotonic() - began < HANG
                await asyncio.to_thread(node.start)
            try:
                await running.jobs.publish(mark, value)
            except QueueUnavailableError:
                continue
            published.add(value)
        assert len(published) > 140
        await until(done, published)
        after = await running.jobs.publish(mark, 2000)
        await after.result(timeout=PATIENCE)


async def test_work_goes_on_when_the_leaders_of_a_cluster_are_killed(
    cluster: list[Node], job_service: StartJobs, keys: KeySpace
) -> None:
    """Another node has the queue's leader then, and what was confirmed."""
    done: set[int] = set()

    @job("mark", attempts=9)
    async def mark(value: int) -> None:
        await asyncio.sleep(0.02)
        done.add(value)

    queue, leads = lane(keys.prefix, "default", 0), cluster[0]
    published: set[int] = set()
    async with job_service([mark]) as running:
        for value in range(150):
            if value == 60:
                await asyncio.sleep(5)  # a queue that was just declared may be forgotten
                name = await asyncio.to_thread(cluster[0].leader, queue)
                (leads,) = (node for node in cluster if node.name == name)
                await asyncio.to_thread(leads.kill)
            try:
                await running.jobs.publish(mark, value)
            except QueueUnavailableError:
                await asyncio.sleep(0.1)
                continue
            published.add(value)
        assert len(published) > 100
        await until(done, published)
        other = next(node for node in cluster if node is not leads)
        assert await asyncio.to_thread(other.leader, queue) != leads.name
        await asyncio.to_thread(leads.start)
        after = await running.jobs.publish(mark, 2000)
        await after.result(timeout=PATIENCE)


async def test_a_broker_whose_disk_is_full_takes_nothing_and_says_so(
    node: Node, job_service: StartJobs
) -> None:
    """Publishing fails in time, what was taken is done, and all of it works when there is room."""
    done: set[int] = set()

    @job("mark")
    async def mark(value: int) -> None:
        done.add(value)

    async with job_service([mark]) as running:
        await running.jobs.publish(mark, 1)
        await until(done, {1})
        await asyncio.to_thread(node.control, "set_disk_free_limit", "9999GB")
        try:
            async with asyncio.timeout(HANG):
                with pytest.raises(QueueUnavailableError):
                    await running.jobs.publish(mark, 2, id="once")
        finally:
            await asyncio.to_thread(node.control, "set_disk_free_limit", "50MB")
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await running.jobs.publish(mark, 2, id="once")
                except QueueUnavailableError:
                    await asyncio.sleep(0.1)
                else:
                    break
        await running.jobs.publish(mark, 3)
        await until(done, {1, 2, 3})
        assert (await running.engine.counts("default"))[JobState.COMPLETED] == 3


async def test_jobs_survive_a_broker_that_dies_while_they_are_delayed(
    node: Node, job_service: StartJobs
) -> None:
    """Their messages lie on the ladder, on disk."""
    done: dict[int, float] = {}

    @job("late")
    async def late(value: int) -> None:
        done[value] = time.time()

    async with job_service([late]) as running:
        begin = time.time()
        for value in range(20):
            await running.jobs.publish(late, value, delay=timedelta(seconds=2))
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(node.start)
        async with asyncio.timeout(PATIENCE):
            while len(done) < 20:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
        assert min(done.values()) - begin >= 2


async def test_a_cut_connection_costs_no_job_and_doubles_none(
    proxy: Proxy, job_service: StartJobs
) -> None:
    """The running ones go on, and their messages find them again."""
    runs: list[int] = []

    @job("mark", attempts=1)
    async def mark(value: int) -> None:
        runs.append(value)
        await asyncio.sleep(0.3)

    async with job_service([mark]) as running:
        jobs = running.jobs
        handles = await jobs.publish_many([jobs.prepare(mark, n) for n in range(40)])
        for _ in range(4):
            await asyncio.sleep(0.25)
            proxy.reset()
        for handle in handles:
            await handle.result(timeout=PATIENCE)
    assert sorted(runs) == list(range(40))


async def test_a_worker_comes_back_from_a_black_hole(
    proxy: Proxy, job_service: StartJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that it hears nothing, and takes jobs again soon after."""
    monkeypatch.setattr(patience, "SILENT_SECONDS", 3.0)
    async with job_service([echo]) as running:
        await (await running.jobs.publish(echo, 1)).result(timeout=PATIENCE)
        proxy.silence()
        with pytest.raises(QueueUnavailableError):
            await running.jobs.publish(echo, 2)
        await asyncio.sleep(5)
        assert running.worker.silent_queues() == ["default"]
        proxy.mend()
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            handle = await patiently(running.jobs)
        assert await handle.result(timeout=PATIENCE) == 3
        assert time.monotonic() - began < 2 * HANG
        assert running.worker.silent_queues() == []


async def test_in_a_black_hole_all_publishers_fail_soon(
    proxy: Proxy, job_service: StartJobs
) -> None:
    """They wait for the same connection, not each for those before it as well."""
    async with job_service([echo], work=False) as running:
        await running.jobs.publish(echo, 1)
        proxy.silence()
        with pytest.raises(QueueUnavailableError):
            await running.jobs.publish(echo, 2)
        async with asyncio.timeout(HANG):  # in a row it would be a minute
            failing = [running.jobs.publish(echo, number) for number in range(30)]
            answers = await asyncio.gather(*failing, return_exceptions=True)
        assert {type(answer) for answer in answers} == {QueueUnavailableError}
        proxy.mend()
        async with asyncio.timeout(PATIENCE):
            await patiently(running.jobs)


async def test_without_a_connection_no_lane_is_blamed(
    proxy: Proxy, job_service: StartJobs, log_lines: LogLines
) -> None:
    """Each would fail after a timeout of its own, and wait longer before it is tried again."""
    async with job_service([echo]) as running:
        await (await running.jobs.publish(echo, 1)).result(timeout=PATIENCE)
        proxy.refuse()
        await asyncio.sleep(3.0)
        proxy.mend()
        async with asyncio.timeout(PATIENCE):
            handle = await patiently(running.jobs)
        assert await handle.result(timeout=PATIENCE) == 3
    blamed = [line["message"] for line in log_lines if line["message"].startswith("Lane ")]
    assert len(blamed) <= 2  # one that was asked for something in that moment, and its return


async def test_a_worker_stops_in_time_in_a_black_hole(proxy: Proxy, job_service: StartJobs) -> None:
    """Whatever it still has to say."""
    started = asyncio.Event()

    @job("long")
    async def long(_value: int) -> None:
        started.set()
        await asyncio.sleep(60)

    async with job_service([long]) as running:
        await running.jobs.publish(long, 1)
        await started.wait()
        proxy.silence()
        began = time.monotonic()
        left = await running.worker.stop(4.0)
        assert time.monotonic() - began < HANG
        assert len(left) == 1
        proxy.mend()


async def test_publishing_without_a_broker_fails_soon_and_clearly(
    proxy: Proxy, job_service: StartJobs
) -> None:
    """And works again once it is back; what was recorded meanwhile is not lost either."""
    async with job_service([echo], work=False) as running:
        await running.jobs.publish(echo, 1)
        proxy.refuse()
        async with asyncio.timeout(HANG):
            with pytest.raises(QueueUnavailableError, match="RabbitMQ"):
                await running.jobs.publish(echo, 2, id="unsure")
        proxy.mend()
        handle = await running.jobs.publish(echo, 2, id="unsure")
        async with job_service([echo]) as worker:
            assert await handle.result(timeout=PATIENCE) == 2
            counts = await worker.engine.counts("default")
            assert counts[JobState.COMPLETED] + counts[JobState.WAITING] == 2


async def test_a_subscription_the_broker_ends_is_made_again(
    job_service: StartJobs, channel: Channel, keys: KeySpace
) -> None:
    """Here because somebody deletes the queue."""
    async with job_service([echo]) as running:
        await (await running.jobs.publish(echo, 1)).result(timeout=PATIENCE)
        await channel.queue_delete(lane(keys.prefix, "default", 0))
        await asyncio.sleep(1.0)
        handle = await running.jobs.publish(echo, 2)
        assert await handle.result(timeout=PATIENCE) == 2


async def test_a_message_that_was_never_sent_is_sent_by_a_worker(
    proxy: Proxy, job_service: StartJobs
) -> None:
    """Whoever published it died, or could not reach the broker."""
    async with job_service([echo], work=False) as publisher:
        await publisher.jobs.publish(echo, 1)
        proxy.refuse()
        with pytest.raises(QueueUnavailableError):
            await publisher.jobs.publish(echo, 2, id="orphan")
        proxy.mend()
    async with job_service([echo]) as running:
        assert await running.jobs.handle("default", "orphan").result(timeout=PATIENCE) == 2
