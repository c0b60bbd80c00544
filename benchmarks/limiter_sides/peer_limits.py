"""limits, in its asynchronous form on redis-py."""

from __future__ import annotations

from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter

from benchmarks.limiter_sides.common import RATE, main, throughput


async def measure(port: int, what: str, checks: int) -> float:
    """Measure one thing; with headers means what is left, which is a second round trip."""
    storage = RedisStorage(f"async+redis://127.0.0.1:{port}/0", implementation="redispy")
    limiter = FixedWindowRateLimiter(storage)
    minute, hour = RateLimitItemPerMinute(RATE), RateLimitItemPerHour(RATE)

    async def check(caller: str) -> object:
        if what == "two limits":
            return await limiter.hit(minute, caller), await limiter.hit(hour, caller)
        passes = await limiter.hit(minute, caller)
        if what == "check only":
            return passes
        return passes, await limiter.get_window_stats(minute, caller)

    return await throughput(check, checks, 1 if what == "one by one" else 50)


if __name__ == "__main__":
    main(measure)
