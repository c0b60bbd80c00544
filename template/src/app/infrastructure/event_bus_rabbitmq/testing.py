"""What tests of events need of this transport: nothing left in the broker."""

from __future__ import annotations

from aiormq import Connection

from app.infrastructure.event_bus.settings import EventBusSettings
from app.infrastructure.event_bus_rabbitmq.topology import Topology
from app.infrastructure.queue.rabbitmq import testing


def missing() -> str:
    """Return why there is no broker for tests, nothing if there is one."""
    return testing.missing()


async def clean(service: str) -> None:
    """Delete what a service has declared."""
    topology = Topology.of(EventBusSettings(), service, 0)
    connection = Connection(testing.settings()[0].urls[0])
    await connection.connect()
    try:
        channel = await connection.channel()
        for name in (topology.queue, topology.dead, topology.stream):
            await channel.queue_delete(name)
        await channel.exchange_delete(topology.exchange)
    finally:
        await connection.close()
