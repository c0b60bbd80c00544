"""Hits one counter from a process of its own: `python program.py URL PREFIX KIND TIMES`."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from pydantic import SecretStr

from app.core.settings import AppSettings
from app.infrastructure.rate_limiter.rates import Policy
from app.infrastructure.rate_limiter.settings import RateLimiterSettings
from app.infrastructure.rate_limiter.store import Hit, RedisStore
from app.infrastructure.redis import KeySpace, RedisConnector
from app.infrastructure.redis.server import Server
from app.infrastructure.redis.settings import RedisSettings

TASKS = 25


async def main(url: str, prefix: str, kind: str, times: int) -> int:
    """Return how many were admitted."""
    settings = RedisSettings(redis_url=SecretStr(url))
    connector = RedisConnector(settings, AppSettings(), Server(settings))
    # Several on two cores: patience is not what is tested.
    patient = RateLimiterSettings(rate_limit_timeout=5)
    store = RedisStore(connector, KeySpace(prefix), patient, settings)
    await store.start()
    hit = Hit(Policy.of_kind("p", kind), KeySpace(prefix).tagged("a", kind))

    async def some() -> int:
        return sum([(await store.hit([hit]))[0].fits for _ in range(times // TASKS)])

    admitted = sum(await asyncio.gather(*(some() for _ in range(TASKS))))
    await store.stop()
    return admitted


if __name__ == "__main__":
    # This process's clock is wrong by hours: nobody may care.
    now, wrong = time.time, os.getpid() % 7 * 3600
    time.time = lambda: now() + wrong
    address, prefix, kind, times = sys.argv[1:]
    sys.stdout.write(str(asyncio.run(main(address, prefix, kind, int(times)))))
