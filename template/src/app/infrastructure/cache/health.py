"""Does the cache keep anything?"""

from __future__ import annotations

from dishka import AsyncContainer

from app.core.health import HealthCheck, HealthReport, HealthStatus
from app.infrastructure.cache.caching import Cache
from app.infrastructure.cache.link import Link


async def check(container: AsyncContainer) -> HealthReport:
    """Complain while it does without Redis: answers are right, and slower."""
    cache = await container.get(Cache)
    link = await container.get(Link)
    ratio = cache.statistics.hit_ratio
    details: dict[str, object] = {"enabled": cache.enabled}
    if ratio is not None:
        details["hitRatio"] = round(ratio, 3)
    return HealthReport(HealthStatus.DEGRADED if link.is_away else HealthStatus.UP, details)


CACHE_CHECK = HealthCheck(name="cache", check=check, critical=False)
