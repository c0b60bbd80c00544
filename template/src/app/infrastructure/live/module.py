"""The live module."""

from __future__ import annotations

from dishka import AsyncContainer, Provider, Scope
from loguru import logger

from app.core.health import HealthCheck, HealthReport
from app.core.module import Module
from app.core.settings import AppSettings
from app.infrastructure.event_bus.settings import EventBusSettings
from app.infrastructure.live.channels import ChannelCatalog
from app.infrastructure.live.clients import Clients
from app.infrastructure.live.identity import Identity
from app.infrastructure.live.settings import LiveSettings

provider = Provider(scope=Scope.APP)
provider.provide(Identity)
provider.provide(ChannelCatalog)
provider.provide(Clients)


async def start(container: AsyncContainer) -> None:
    """Watch over the clients; say what would surprise in production.

    Raises:
        ConfigurationError: two channels have one name.
    """
    await container.get(ChannelCatalog)
    (await container.get(Clients)).start()
    if not (await container.get(AppSettings)).app_env.is_deployed:
        return
    identity = await container.get(Identity)
    if not identity.is_known and not identity.anonymous:
        logger.warning(
            "Nobody can follow live events: no module contributes an Authenticator. "
            "Add one, or set LIVE_ANONYMOUS=true to open public channels to everybody"
        )
    if (await container.get(EventBusSettings)).event_bus_transport == "local":
        logger.warning(
            "Live events are those of one process each: set EVENT_BUS_TRANSPORT=redis for all"
        )


async def stop(container: AsyncContainer) -> None:
    """End the streams that are left."""
    await (await container.get(Clients)).stop()


async def check(container: AsyncContainer) -> HealthReport:
    """Tell how many follow, and how many had to be cut off."""
    clients = await container.get(Clients)
    return HealthReport(details={"clients": len(clients), **clients.counts})


module = Module(
    name="live",
    summary="Channels of live events: access, limits, buffers",
    requires=("event_bus",),
    settings=LiveSettings,
    providers=(provider,),
    startup=start,
    drain=stop,
    health_checks=(HealthCheck(name="live", check=check, critical=False),),
)
