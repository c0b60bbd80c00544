"""Is Redis there?"""

from __future__ import annotations

from typing import Any

from dishka import AsyncContainer
from redis.asyncio import Redis

from app.core.health import HealthCheck, HealthReport
from app.infrastructure.redis.settings import RedisSettings


async def check(container: AsyncContainer) -> HealthReport:
    """Ask the server who it is. Raises when it does not answer."""
    redis = await container.get(Redis)
    settings = await container.get(RedisSettings)
    info: dict[str, Any] = await redis.info("server")
    # A cluster answers once per node: {node: {...}}.
    first = info if "redis_version" in info else next(iter(info.values()))
    version = first.get("valkey_version") or first["redis_version"]
    return HealthReport(details={"mode": settings.address.mode.value, "version": version})


REDIS_CHECK = HealthCheck(name="redis", check=check)
