"""A process for the tests: `crowd URL PREFIX CALLERS`, or `hold URL PREFIX` and never let go.

It says what it computed and what the callers got, as a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

from pydantic import SecretStr

from app.infrastructure.cache import Cache
from app.infrastructure.cache.link import Link
from app.infrastructure.cache.names import Names
from app.infrastructure.cache.settings import CacheSettings
from app.infrastructure.cache.store import Store
from app.infrastructure.redis.client import build_client
from app.infrastructure.redis.keys import KeySpace
from app.infrastructure.redis.multiplexer import Multiplexer
from app.infrastructure.redis.settings import RedisSettings

LEASE = 1.0
KEY = "crowd:1"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(what: str, url: str, prefix: str, callers: int) -> None:
    where = RedisSettings(redis_url=SecretStr(url))
    settings = CacheSettings(cache_timeout=5.0, cache_lease=LEASE)
    redis = build_client(where, where.address, "test")
    fast = Multiplexer(where, where.address, "test", 5.0)
    link, names = Link(redis, fast, 5.0, 1.0), Names(KeySpace(prefix))
    cache = Cache(Store(link, names), names, settings)
    calls = 0

    async def compute() -> int:
        nonlocal calls
        calls += 1
        if what == "hold":
            say("holding")
            await asyncio.sleep(600)
        # Longer than the lease: who lives keeps it.
        await asyncio.sleep(2 * LEASE)
        return int(await redis.incr(f"{prefix}:computed"))

    await redis.ping()
    say("ready")
    if what == "crowd":
        await asyncio.to_thread(sys.stdin.readline)
    wanted = [cache.get_or_set(KEY, compute, 60) for _ in range(callers)]
    found = await asyncio.gather(*wanted)
    say(json.dumps({"calls": calls, "found": found}))
    await link.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
