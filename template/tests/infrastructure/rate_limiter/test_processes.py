"""Several processes share the counters, and count exactly."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.core.folders import APP_ROOT
from app.infrastructure.rate_limiter.rates import Algorithm, Policy, Rate
from app.infrastructure.redis import KeySpace
from tests.infrastructure.rate_limiter.conftest import all_keys

PROCESSES = 4
REQUESTS = 10_000
QUOTA = 5_000


@pytest.mark.parametrize(
    "algorithm",
    [
        Algorithm.FIXED_WINDOW,
        pytest.param(Algorithm.SLIDING_WINDOW, marks=pytest.mark.slow),
        pytest.param(Algorithm.TOKEN_BUCKET, marks=pytest.mark.slow),
    ],
)
async def test_four_processes_admit_exactly_the_quota(
    redis: Redis, keys: KeySpace, redis_url: str, algorithm: Algorithm
) -> None:
    """10,000 requests at once, 5,000 allowed; each process has another idea of what time it is."""
    policy = Policy("p", Rate(QUOTA, 10 * 86_400), algorithm)
    program = Path(__file__).with_name("program.py")
    words = [redis_url, keys.prefix, policy.kind, str(REQUESTS // PROCESSES)]
    environment = {**os.environ, "PYTHONPATH": str(APP_ROOT.parent)}
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, str(program), *words, stdout=asyncio.subprocess.PIPE, env=environment
        )
        for _ in range(PROCESSES)
    ]
    printed = [(await process.communicate())[0] for process in processes]

    assert sum(int(line) for line in printed) == QUOTA
    assert all([await redis.pttl(key) > 0 for key in await all_keys(redis, keys)])
