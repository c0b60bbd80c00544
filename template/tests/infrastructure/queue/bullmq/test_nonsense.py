"""What others may have put into the queue."""

from __future__ import annotations

import random
import secrets

import pytest
from redis.asyncio import Redis

from app.infrastructure.queue import DeadReason, JobState, job
from app.infrastructure.queue.testing import StartJobs
from app.infrastructure.redis.keys import KeySpace

PATIENCE = 60.0


@pytest.fixture
def queue_engine() -> str:
    """This engine alone."""
    return "bullmq"


@job("echo")
async def echo(value: int) -> int:
    return value


def nonsense(rng: random.Random) -> dict[str, bytes]:
    """Return a hash that is nearly a job, or not at all."""
    good = {"name": b"echo", "data": b"1", "opts": b'{"attempts":3}', "timestamp": b"1700000000000"}
    broken = [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 2000,
        b'{"attempts":"many"}',
        b'{"delay":1e400}',
        b'{"backoff":{"type":[]}}',
        b"null",
        b'"\\ud800"',
        rng.randbytes(20),
    ]
    if rng.random() < 0.2:
        good["rjk"] = b"nobody's schedule"
    for name in rng.sample(sorted(good), rng.randint(1, 3)):
        if rng.random() < 0.3:
            del good[name]
        else:
            good[name] = rng.choice(broken)
    return good


async def test_nonsense_in_the_broker_harms_nothing_behind_it(
    job_service: StartJobs, redis_url: str, keys: KeySpace
) -> None:
    """It is dead with its bytes, or does what little it says."""
    rng = random.Random(7)  # noqa: S311 - the same each time
    base = f"{{{keys.prefix}}}:default:"
    raw = Redis.from_url(redis_url)
    bodies: dict[str, dict[str, bytes]] = {}
    async with raw.pipeline(transaction=False) as pipe:
        for number in range(300):
            name = f"raw-{number}-{secrets.token_hex(4)}"
            bodies[name] = nonsense(rng)
            if number % 50:
                for field, value in bodies[name].items():
                    pipe.hset(base + name, field, value)
            pipe.lpush(base + "wait", name)
        pipe.zadd(base + "marker", {"0": 0})
        await pipe.execute()
    async with job_service([echo]) as running:
        handle = await running.jobs.publish(echo, 5)
        assert await handle.result(timeout=PATIENCE) == 5
        counts = await running.engine.counts("default")
        assert counts[JobState.WAITING] + counts[JobState.ACTIVE] == 0
        assert counts[JobState.DEAD] + counts[JobState.COMPLETED] == 301
        dead = await running.engine.list_jobs("default", JobState.DEAD, limit=1000)
        assert {record.reason for record in dead} >= {DeadReason.UNDECODABLE, DeadReason.UNKNOWN}
        for record in dead:
            if body := bodies[record.id].get("data"):
                kept = await raw.hget(base + record.id, "data")
                assert kept is None or kept == body
    await raw.aclose()
