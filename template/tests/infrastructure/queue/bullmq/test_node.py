"""Our jobs are ordinary BullMQ jobs: the real one, in Node, adds and does them, and the reverse."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from app.infrastructure.queue import (
    Backoff,
    BackoffKind,
    Deduplication,
    JobContext,
    JobFailedError,
    JobState,
    Schedule,
    job,
)
from app.infrastructure.queue.testing import StartJobs
from app.infrastructure.redis.keys import KeySpace
from app.infrastructure.redis.settings import RedisSettings

VARIABLE = "NODE_BULLMQ"
SCRIPT = Path(__file__).with_name("node.cjs")
PATIENCE = 30.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get(VARIABLE) or shutil.which("node") is None,
        reason=f"needs Node and `npm install bullmq ioredis`; {VARIABLE} names the folder it is in",
    ),
]
DATA: JsonValue = {
    "nested": [1, {"text": "naïve 😀"}],
    "float": 1.5,
    "large": 2**53 - 1,
    "none": None,
}


@job("echo", attempts=4)
async def echo(value: JsonValue) -> JsonValue:
    return {"echoed": value}


@job("flaky")
async def flaky(_value: JsonValue, context: JobContext) -> int:
    if context.attempt < 3:
        message = f"attempt {context.attempt}"
        raise ValueError(message)
    return context.attempt


@job("fails", attempts=2)
async def fails(_value: JsonValue) -> None:
    message = "on purpose"
    raise ValueError(message)


class Node:
    """Runs the script."""

    def __init__(self, settings: RedisSettings, keys: KeySpace) -> None:
        address = settings.address
        server: dict[str, Any] = {"path": address.path}
        if address.hosts:
            host, port = address.hosts[0]
            server = {"host": host, "port": port, "password": address.password}
        self._asked = {"server": server, "prefix": f"{{{keys.prefix}}}", "queue": "default"}

    async def __call__(self, command: str, **asked: Any) -> list[Any]:
        """Run a command of the script; return what it says."""
        process = await asyncio.create_subprocess_exec(
            *("node", str(SCRIPT), command, json.dumps({**self._asked, **asked})),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            said, complaints = await process.communicate()
        assert process.returncode == 0, complaints.decode()
        return [json.loads(line) for line in said.splitlines()]


@pytest.fixture
def node(redis_settings: RedisSettings, keys: KeySpace, queue_engine: str) -> Node:
    if queue_engine != "bullmq":
        pytest.skip("about BullMQ")
    return Node(redis_settings, keys)


async def test_node_adds_and_python_works(job_service: StartJobs, node: Node) -> None:
    """Data, delays, priorities, retries and failures; Node waits for the results."""
    async with job_service([echo, flaky, fails]) as running:
        said = await node(
            "add",
            jobs=[
                {"name": "echo", "data": DATA},
                {"name": "echo", "data": 1, "opts": {"delay": 200}},
                {"name": "echo", "data": 2, "opts": {"priority": 5}},
                {"name": "flaky", "data": {}, "opts": {"attempts": 3, "backoff": 20}},
                {
                    "name": "flaky",
                    "data": {},
                    "opts": {
                        "attempts": 3,
                        "backoff": {"type": "exponential", "delay": 10, "jitter": 0.5},
                    },
                },
                {"name": "fails", "data": {}, "opts": {"attempts": 2}},
                {"name": "echo", "data": 3, "opts": {"jobId": "chosen-in-node"}},
            ],
        )
        assert [line.get("result") for line in said] == [
            {"echoed": DATA},
            {"echoed": 1},
            {"echoed": 2},
            3,
            3,
            None,
            {"echoed": 3},
        ]
        assert said[5]["error"] == "ValueError: on purpose"
        (dead,) = await running.engine.list_jobs("default", JobState.DEAD)
        assert (dead.id, dead.starts) == (said[5]["id"], 2)
        assert (await running.jobs.handle("default", "chosen-in-node").record()).name == "echo"


async def test_python_adds_and_node_works(job_service: StartJobs, node: Node) -> None:
    """Node reads data, options and headers, repeats and fails as told; Python reads the results."""
    backoff = Backoff(kind=BackoffKind.FIXED, first=timedelta(milliseconds=30), jitter=0)
    async with job_service([echo, fails], work=False) as publisher:
        jobs = publisher.jobs
        plain = await jobs.publish(echo, DATA, headers={"tenant": "a"})
        late = await jobs.publish(echo, 1, delay=timedelta(milliseconds=300), priority=2)
        failing = await jobs.publish(fails, {}, backoff=backoff)
        unique = Deduplication(key="one")
        first = await jobs.publish(echo, 2, deduplication=unique)
        assert (await jobs.publish(echo, 3, deduplication=unique)).id == first.id
        said = await node("work", count=4)
        assert await plain.result(timeout=PATIENCE) == {"echoed": DATA}
        assert await plain.progress() == {"half": True}
        assert await late.result(timeout=PATIENCE) == {"echoed": 1}
        assert await first.result(timeout=PATIENCE) == {"echoed": 2}
        with pytest.raises(JobFailedError, match="attempt 2"):
            await failing.result(timeout=PATIENCE)
        record = await failing.record()
        assert (record.state, record.starts) == (JobState.DEAD, 2)
        ended = {(line["name"], json.dumps(line["data"])): line for line in said}
        assert ended["echo", json.dumps(1)]["priority"] == 2
        assert json.loads(ended["echo", json.dumps(DATA)]["headers"])["tenant"] == "a"
        assert ended["fails", "{}"]["backoff"] == {"type": "fixed", "delay": 30, "jitter": 0}


async def test_each_side_ticks_the_other_s_schedules(job_service: StartJobs, node: Node) -> None:
    """Python does what Node has scheduled, and Node what Python has."""
    ticks: list[str] = []

    @job("tick")
    async def tick(kind: str) -> None:
        ticks.append(kind)

    async with job_service([tick]) as running:
        assert await node("schedule", key="from-node", every=200, name="tick", data="node") == [
            ["from-node"]
        ]
        async with asyncio.timeout(PATIENCE):
            while ticks.count("node") < 3:  # noqa: ASYNC110 - another process is at work
                await asyncio.sleep(0.05)
        assert await running.jobs.unschedule("default", "from-node")
    async with job_service([tick], work=False) as publisher:
        await publisher.jobs.schedule(
            Schedule(key="ours", job="tick", payload="python", every=timedelta(milliseconds=200))
        )
        said = await node("work", count=3)
        assert [line["data"] for line in said] == ["python"] * 3
        assert await publisher.jobs.unschedule("default", "ours")
