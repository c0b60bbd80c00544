"""The websockets module."""

from __future__ import annotations

from collections.abc import Sequence

from dishka import AsyncContainer, Provider, Scope

from app.core.events import Envelope, EventSink
from app.core.health import HealthCheck, HealthReport, HealthStatus
from app.core.module import Module
from app.infrastructure.websockets.fan_out import FanOut
from app.infrastructure.websockets.router import router
from app.infrastructure.websockets.settings import WebSocketSettings

GRACE_SECONDS = 1.0
"""For hearing no more: no handlers run on it."""

provider = Provider(scope=Scope.APP)
provider.provide(FanOut)


async def deliver(container: AsyncContainer, envelopes: Sequence[Envelope]) -> None:
    """Send events to the WebSockets of all processes."""
    await (await container.get(FanOut)).deliver(envelopes)


async def ready(container: AsyncContainer) -> None:
    """Connect, where they have a Redis of their own."""
    await (await container.get(FanOut)).start()


async def drain(container: AsyncContainer) -> None:
    """Hear no more."""
    await (await container.get(FanOut)).drain(GRACE_SECONDS)


async def stop(container: AsyncContainer) -> None:
    """Disconnect."""
    await (await container.get(FanOut)).stop()


async def check(container: AsyncContainer) -> HealthReport:
    """Tell whether events reach the other processes."""
    fan_out = await container.get(FanOut)
    status = HealthStatus.UP if fan_out.is_well else HealthStatus.DEGRADED
    return HealthReport(status, {"lost": fan_out.lost})


module = Module(
    name="websockets",
    summary="Live channels over a WebSocket: /ws",
    requires=("live", "event_bus", "event_bus_redis", "redis", "logger"),
    settings=WebSocketSettings,
    providers=(provider,),
    routers=(router,),
    ready=ready,
    drain=drain,
    shutdown=stop,
    health_checks=(HealthCheck(name="websockets", check=check, critical=False),),
    contributes=(EventSink(deliver),),
)
