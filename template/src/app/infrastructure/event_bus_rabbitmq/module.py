"""The module of events over RabbitMQ."""

from __future__ import annotations

from dishka import AsyncContainer

from app.core.module import Module
from app.infrastructure.event_bus import Transport, TransportChoice
from app.infrastructure.event_bus.settings import EventBusSettings
from app.infrastructure.event_bus_rabbitmq.topology import Topology
from app.infrastructure.event_bus_rabbitmq.transport import RabbitmqTransport
from app.infrastructure.queue.rabbitmq.line import Line
from app.infrastructure.queue.rabbitmq.settings import RabbitmqSettings
from app.infrastructure.queue.settings import QueueSettings
from app.infrastructure.redis import KeySpace


async def build(container: AsyncContainer) -> Transport:
    """Over the broker of the job queue's engine."""
    settings = await container.get(EventBusSettings)
    broker = await container.get(RabbitmqSettings)
    service = (await container.get(KeySpace)).prefix
    timeout = (await container.get(QueueSettings)).queue_publish_timeout

    def line(purpose: str) -> Line:
        return Line(broker.urls, f"{service} {purpose}", timeout)

    topology = Topology.of(settings, service, broker.rabbitmq_group_size)
    return RabbitmqTransport(line, topology, settings.event_bus_concurrency)


module = Module(
    name="event_bus_rabbitmq",
    summary="Events over RabbitMQ: EVENT_BUS_TRANSPORT=rabbitmq",
    requires=("event_bus", "queue", "redis"),
    contributes=(TransportChoice(name="rabbitmq", build=build),),
)
