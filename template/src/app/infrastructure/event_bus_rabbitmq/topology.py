"""What lies in the broker.

    publisher ──► NAMESPACE.events (topic) ──► NAMESPACE.events.GROUP         quorum queue
                                          └──► NAMESPACE.events.stream        stream: the last ones
                  NAMESPACE.events.GROUP ────► NAMESPACE.events.GROUP.dead    quorum queue

The routing key is the event's name: a service in another language binds a queue of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiormq import Channel
from aiormq.exceptions import ChannelPreconditionFailed

from app.core.errors import ConfigurationError
from app.infrastructure.event_bus.settings import EventBusSettings

BYTES_OF_AN_EVENT = 1024
"""A stream is bounded in bytes; an event of the usual size has about so many."""
SMALLEST_SEGMENT = 1_000_000
SEGMENTS = 10
"""A stream is trimmed by whole segments: of so many parts, one more or less."""
NEVER = 2**30
"""Deliveries after which the broker gives up what is dead already. RabbitMQ 4 would after 20."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Names, and limits."""

    namespace: str
    group: str
    deliveries: int
    window: int
    dead_window: int
    copies: int
    """Of each queue in a cluster; 0: RabbitMQ decides."""

    @classmethod
    def of(cls, settings: EventBusSettings, service: str, copies: int) -> Topology:
        """Return that of the settings."""
        return cls(
            namespace=settings.event_bus_namespace or service,
            group=settings.event_bus_group or service,
            deliveries=settings.event_bus_deliveries,
            window=settings.event_bus_window,
            dead_window=settings.event_bus_dead_window,
            copies=copies,
        )

    @property
    def exchange(self) -> str:
        """Where events are published."""
        return f"{self.namespace}.events"

    @property
    def queue(self) -> str:
        """What waits for the group."""
        return f"{self.namespace}.events.{self.group}"

    @property
    def dead(self) -> str:
        """What the group could not deal with."""
        return f"{self.queue}.dead"

    @property
    def stream(self) -> str:
        """The last events, for every process."""
        return f"{self.namespace}.events.stream"

    async def declare(self, channel: Channel) -> None:
        """Declare everything; what is there already stays.

        Raises:
            ConfigurationError: it is there with other arguments.
        """
        copies = {"x-quorum-initial-group-size": self.copies} if self.copies else {}
        quorum = {"x-queue-type": "quorum", **copies}
        await channel.exchange_declare(self.exchange, exchange_type="topic", durable=True)
        await _declare(
            channel,
            self.dead,
            {**quorum, "x-max-length": self.dead_window, "x-delivery-limit": NEVER},
        )
        await _declare(
            channel,
            self.queue,
            {
                **quorum,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.dead,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
                "x-delivery-limit": self.deliveries - 1,
            },
        )
        size = self.window * BYTES_OF_AN_EVENT
        await _declare(
            channel,
            self.stream,
            {
                "x-queue-type": "stream",
                "x-max-length-bytes": size,
                "x-stream-max-segment-size-bytes": max(SMALLEST_SEGMENT, size // SEGMENTS),
                **({"x-initial-cluster-size": self.copies} if self.copies else {}),
            },
        )
        for name in (self.queue, self.stream):
            await channel.queue_bind(name, self.exchange, "#")


async def _declare(channel: Channel, name: str, arguments: Mapping[str, Any]) -> None:
    try:
        await channel.queue_declare(name, durable=True, arguments=dict(arguments))
    except ChannelPreconditionFailed as error:
        message = (
            f"RabbitMQ has a queue {name!r} that was declared otherwise ({error}), perhaps with "
            "other EVENT_BUS_ settings. Empty and delete it, or set those back"
        )
        raise ConfigurationError(message) from error
