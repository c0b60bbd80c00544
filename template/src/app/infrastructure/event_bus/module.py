"""The event bus module."""

from __future__ import annotations

from collections.abc import Sequence

from dishka import AsyncContainer, Provider, Scope

from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.events import Envelope, EventSink
from app.core.health import HealthCheck, HealthReport, HealthStatus
from app.core.module import Module
from app.core.settings import AppSettings
from app.infrastructure.event_bus.bus import EventBus
from app.infrastructure.event_bus.dispatcher import Dispatcher
from app.infrastructure.event_bus.handlers import EventHandler
from app.infrastructure.event_bus.local.transport import LocalTransport
from app.infrastructure.event_bus.ports import Transport, TransportChoice
from app.infrastructure.event_bus.settings import EventBusSettings
from app.infrastructure.event_bus.subscriptions import Subscriptions

STOP_SECONDS = 2.0
"""Of the time a module may take to stop, kept for disconnecting."""


def provide_subscriptions(registry: Registry) -> Subscriptions:
    """What the modules contribute."""
    return Subscriptions(registry.contributions(EventHandler))


def provide_choice(registry: Registry, settings: EventBusSettings) -> TransportChoice:
    """The one `EVENT_BUS_TRANSPORT` names."""
    choices = {choice.name: choice for choice in registry.contributions(TransportChoice)}
    chosen = choices.get(settings.event_bus_transport)
    if chosen is None:
        message = (
            f"EVENT_BUS_TRANSPORT={settings.event_bus_transport} is no transport of this service: "
            f"choose one of {', '.join(sorted(choices))}, or generate the service with it"
        )
        raise ConfigurationError(message)
    return chosen


provider = Provider(scope=Scope.APP)
provider.provide(provide_subscriptions)
provider.provide(provide_choice)
provider.provide(Dispatcher)
provider.provide(EventBus)


async def build_local(container: AsyncContainer) -> Transport:
    """Inside the process."""
    return LocalTransport(await container.get(EventBusSettings))


async def deliver(container: AsyncContainer, envelopes: Sequence[Envelope]) -> None:
    """Hand what has happened to the bus."""
    await (await container.get(EventBus)).deliver(envelopes)


async def ready(container: AsyncContainer) -> None:
    """Connect, and begin to handle events: handlers may need any module, a transport some."""
    bus = await container.get(EventBus)
    await bus.start()
    wanted = (await container.get(EventBusSettings)).event_bus_consume
    await bus.consume(group=wanted and (await container.get(AppSettings)).app_side_work)


async def drain(container: AsyncContainer) -> None:
    """Take no more of them, and let running handlers end."""
    limit = (await container.get(AppSettings)).app_shutdown_timeout
    await (await container.get(EventBus)).drain(max(limit - STOP_SECONDS, limit / 2))


async def stop(container: AsyncContainer) -> None:
    """Disconnect."""
    await (await container.get(EventBus)).stop()


async def check(container: AsyncContainer) -> HealthReport:
    """Ask the transport; complain of dead events."""
    bus = await container.get(EventBus)
    settings = await container.get(EventBusSettings)
    found = await bus.transport.health()
    status = HealthStatus.UP if found.is_well else HealthStatus.DEGRADED
    handlers = len(tuple(bus.subscriptions))
    details = {"transport": settings.event_bus_transport, "handlers": handlers, **found.details}
    return HealthReport(status, details)


module = Module(
    name="event_bus",
    summary="Typed events to handlers and followers, in one process or in all",
    settings=EventBusSettings,
    providers=(provider,),
    ready=ready,
    drain=drain,
    shutdown=stop,
    health_checks=(HealthCheck(name="event_bus", check=check, critical=False),),
    contributes=(EventSink(deliver), TransportChoice(name="local", build=build_local)),
)
