"""The module of events over Redis."""

from __future__ import annotations

from dishka import AsyncContainer

from app.core.module import Module
from app.infrastructure.event_bus import Transport, TransportChoice
from app.infrastructure.event_bus.settings import EventBusSettings
from app.infrastructure.event_bus_redis.streams import Streams
from app.infrastructure.event_bus_redis.transport import RedisTransport
from app.infrastructure.redis import KeySpace, RedisConnector
from app.infrastructure.redis.settings import RedisSettings


async def build(container: AsyncContainer) -> Transport:
    """Over the service's Redis."""
    settings = await container.get(EventBusSettings)
    streams = Streams.of(settings, await container.get(KeySpace))
    timeout = (await container.get(RedisSettings)).redis_timeout
    connector = await container.get(RedisConnector)
    return RedisTransport(connector.connect, streams, settings, timeout)


module = Module(
    name="event_bus_redis",
    summary="Events over Redis Streams: EVENT_BUS_TRANSPORT=redis",
    requires=("event_bus", "redis"),
    contributes=(TransportChoice(name="redis", build=build),),
)
