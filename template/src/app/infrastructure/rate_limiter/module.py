"""The rate_limiter module."""

from __future__ import annotations

from dishka import AsyncContainer, Provider, Scope
from starlette.types import ASGIApp

from app.core.health import HealthCheck, HealthReport, HealthStatus
from app.core.module import Layer, MiddlewareSpec, Module
from app.infrastructure.rate_limiter.keys import LimitKeys
from app.infrastructure.rate_limiter.limiter import RateLimiter
from app.infrastructure.rate_limiter.middleware import Door, Tell
from app.infrastructure.rate_limiter.settings import RateLimiterSettings
from app.infrastructure.rate_limiter.store import RedisStore, Store

provider = Provider(scope=Scope.APP)
provider.provide(LimitKeys)
provider.provide(RedisStore)
provider.provide(RateLimiter)


@provider.provide
def provide_store(store: RedisStore) -> Store:
    """Count in Redis."""
    return store


def build_tell(app: ASGIApp, container: AsyncContainer) -> ASGIApp:
    """Wrap what answers."""
    return Tell(app, container.get_sync(RateLimiter))


def build_door(app: ASGIApp, container: AsyncContainer) -> ASGIApp:
    """Wrap what routes."""
    return Door(app, container.get_sync(RateLimiter), container.get_sync(RateLimiterSettings))


async def start(container: AsyncContainer) -> None:
    """Connect before the first request."""
    if (await container.get(RateLimiterSettings)).enable_rate_limiting:
        await (await container.get(RedisStore)).start()


async def stop(container: AsyncContainer) -> None:
    """Close the connections."""
    await (await container.get(RedisStore)).stop()


async def check(container: AsyncContainer) -> HealthReport:
    """Tell whether requests are counted."""
    limiter = await container.get(RateLimiter)
    down = (await container.get(Store)).down
    status = HealthStatus.DEGRADED if limiter.enabled and down else HealthStatus.UP
    default = limiter.default
    rates = ";".join(str(policy.rate) for policy in default.policies) if default else "none"
    return HealthReport(status, {"enabled": limiter.enabled, "default": rates})


module = Module(
    name="rate_limiter",
    summary="Limits by address, user, API key and route, counted in Redis",
    requires=("redis", "logger"),
    settings=RateLimiterSettings,
    providers=(provider,),
    middleware=(
        MiddlewareSpec(build=build_tell, layer=Layer.OBSERVE),
        MiddlewareSpec(build=build_door, layer=Layer.PROTECT),
    ),
    startup=start,
    shutdown=stop,
    health_checks=(HealthCheck(name="rate_limiter", check=check, critical=False),),
)
