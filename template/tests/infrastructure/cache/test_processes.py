"""Of all that want a value at once, in however many processes, one computes it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.infrastructure.cache.names import Names
from app.infrastructure.redis import KeySpace

PROGRAM = Path(__file__).with_name("program.py")
PROCESSES, CALLERS = 4, 100
PATIENCE = 60.0


async def start(what: str, url: str, keys: KeySpace, callers: int = CALLERS) -> Process:
    words = [str(PROGRAM), what, url, keys.prefix, str(callers)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return await asyncio.create_subprocess_exec(
        sys.executable, *words, stdin=PIPE, stdout=PIPE, env=env
    )


async def line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return (await process.stdout.readline()).decode().strip()


@pytest.mark.slow
async def test_four_processes_with_a_hundred_callers_each_compute_a_cold_key_once(
    redis_url: str, redis: Redis, keys: KeySpace
) -> None:
    """Though computing takes twice the lease: its holder lives, and renews it."""
    processes = [await start("crowd", redis_url, keys) for _ in range(PROCESSES)]
    for process in processes:
        assert await line(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")

    said = [json.loads(await line(process)) for process in processes]

    assert sum(one["calls"] for one in said) == 1
    assert all(one["found"] == [1] * CALLERS for one in said)
    assert await redis.get(f"{keys.prefix}:computed") == "1"
    assert [await process.wait() for process in processes] == [0] * PROCESSES


@pytest.mark.slow
async def test_a_holder_that_dies_lets_another_go_on_after_its_lease(
    redis_url: str, keys: KeySpace, redis: Redis
) -> None:
    dead = await start("hold", redis_url, keys, 1)
    assert [await line(dead), await line(dead)] == ["ready", "holding"]
    dead.kill()
    await dead.wait()
    locks = [key async for key in redis.scan_iter(match=f"{keys.prefix}:*lock")]
    assert len(locks) == 1
    assert Names(keys).path("crowd:1") not in locks
    assert 0 < await redis.pttl(locks[0]) <= 1_000

    living = await start("crowd", redis_url, keys)
    assert await line(living) == "ready"
    assert living.stdin is not None
    living.stdin.write(b"go\n")
    said = json.loads(await line(living))

    assert said == {"calls": 1, "found": [1] * CALLERS}
    assert await living.wait() == 0
