"""throttled-py, in its asynchronous form; its answer says what is left."""

from __future__ import annotations

from throttled.asyncio import RateLimiterType, Throttled, rate_limiter, store

from benchmarks.limiter_sides.common import RATE, main, throughput


async def measure(port: int, what: str, checks: int) -> float:
    """Measure one thing."""
    redis = store.RedisStore(server=f"redis://127.0.0.1:{port}/0")
    using = RateLimiterType.FIXED_WINDOW.value
    minute = Throttled(using=using, quota=rate_limiter.per_min(RATE), store=redis)
    hour = Throttled(using=using, quota=rate_limiter.per_hour(RATE), store=redis)

    async def check(caller: str) -> object:
        if what == "two limits":
            return await minute.limit(caller), await hour.limit(f"h{caller}")
        return await minute.limit(caller)

    return await throughput(check, checks, 1 if what == "one by one" else 50)


if __name__ == "__main__":
    main(measure)
