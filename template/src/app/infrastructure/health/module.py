"""Declare the health module."""

from __future__ import annotations

from dishka import AsyncContainer, Provider, Scope

from app.core.module import Module
from app.infrastructure.health.readiness import Readiness
from app.infrastructure.health.router import router
from app.infrastructure.health.service import HealthService
from app.infrastructure.health.settings import HealthSettings

provider = Provider(scope=Scope.APP)
provider.provide(Readiness)
provider.provide(HealthService)


async def _startup(container: AsyncContainer) -> None:
    """Construct the service now, so that uptime counts from the start."""
    await container.get(HealthService)


module = Module(
    name="health",
    summary="Liveness, readiness and an overview of every part",
    settings=HealthSettings,
    providers=(provider,),
    routers=(router,),
    startup=_startup,
)
