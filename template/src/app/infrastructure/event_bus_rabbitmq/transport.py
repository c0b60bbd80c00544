"""The transport over RabbitMQ."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from aiormq import Channel
from aiormq.abc import DeliveredMessage

from app.core.events import Envelope
from app.infrastructure.event_bus import (
    DeadEvent,
    EventBusUnavailableError,
    History,
    Received,
    TransportHealth,
    order_of,
)
from app.infrastructure.event_bus.ports import Handle, Hear
from app.infrastructure.event_bus_rabbitmq.consumer import Consumer
from app.infrastructure.event_bus_rabbitmq.messages import (
    dead_event,
    offset_of,
    properties_of,
    received,
)
from app.infrastructure.event_bus_rabbitmq.tail import Tail
from app.infrastructure.event_bus_rabbitmq.topology import Topology
from app.infrastructure.queue import QueueUnavailableError
from app.infrastructure.queue.rabbitmq.confirms import UnroutableError
from app.infrastructure.queue.rabbitmq.line import Line

READ_SECONDS = 5.0
"""Until what is in the stream has to come."""


class RabbitmqTransport:
    """See `Transport`."""

    def __init__(self, line: Callable[[str], Line], topology: Topology, concurrency: int) -> None:
        """Prepare; nothing is connected yet.

        Args:
            line: makes connections, named by what they are for.
            topology: what lies in the broker.
            concurrency: events handled at the same time.
        """
        self._publishing = line("events out")
        self._consuming = line("events in")
        self._topology = topology
        self._concurrency = concurrency
        self._tail = Tail(line("events heard"), topology)
        self._consumer: Consumer | None = None
        self._hear: Hear | None = None

    async def start(self, handle: Handle, hear: Hear) -> None:
        """See `Transport`."""
        with _told():
            await self._publishing.channel(self._topology.declare)
        self._hear = hear
        self._consumer = Consumer(self._consuming, self._topology, handle, self._concurrency)

    async def consume(self, *, group: bool) -> None:
        """See `Transport`."""
        if self._hear is None or self._consumer is None:
            return
        with _told():
            await self._tail.start(self._hear)
        if group:
            await self._consumer.start()

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        """See `Transport`: confirmed by the broker, which has it on the disks of a quorum."""
        bodies = [envelope.to_json().encode() for envelope in envelopes]
        with _told():
            channel = await self._publishing.channel(self._topology.declare)
            await self._publishing.call(self._publish_all(channel, envelopes, bodies))

    async def _publish_all(
        self, channel: Channel, envelopes: Sequence[Envelope], bodies: Sequence[bytes]
    ) -> None:
        confirms = [
            channel.basic_publish(
                body,
                exchange=self._topology.exchange,
                routing_key=envelope.name,
                properties=properties_of(envelope),
                mandatory=True,
            )
            for envelope, body in zip(envelopes, bodies, strict=True)
        ]
        await asyncio.gather(*confirms)

    @property
    def position(self) -> str | None:
        """See `Transport`."""
        return self._tail.position

    async def since(self, stream_id: str, limit: int) -> History:
        """See `Transport`."""
        order = order_of(stream_id)
        if len(order) != 1:
            return History([], is_complete=False)
        begin = order[0]
        with _told():
            end = await self._tail.end()
            count = 0 if end is None else end + 1
            if begin >= count:
                return History([], is_complete=begin == count)
            return await self._read(begin, count, limit)

    async def _read(self, begin: int, end: int, limit: int) -> History:
        """Read up to an offset; the broker begins later where the first is not there any more."""
        items: list[Received] = []
        last = begin - 1
        async with self._tail.reading(begin) as messages, asyncio.timeout(READ_SECONDS):
            while last < end - 1 and len(items) < limit:
                message = await messages.get()
                if message is None:
                    raise QueueUnavailableError
                offset = offset_of(message)
                if offset < begin:  # it gives whole chunks
                    continue
                if begin and last < begin and offset > begin:
                    return History([], is_complete=False)
                last = offset
                if item := received(message):
                    items.append(item)
        return History(items, is_complete=True)

    async def dead(self, limit: int) -> Sequence[DeadEvent]:
        """See `Transport`. Looks at every one: the oldest come first."""
        found: list[DeadEvent] = []

        async def look(dead: DeadEvent) -> bool:
            found.append(dead)
            return False

        await self.revive(None, look)
        return found[::-1][:limit]

    async def revive(
        self, ids: Collection[str] | None, redo: Callable[[DeadEvent], Awaitable[bool]]
    ) -> int:
        """See `Transport`."""
        done = 0
        with _told():
            channel = await self._consuming.another_channel()
            try:
                await self._topology.declare(channel)
                while message := await self._next_dead(channel):
                    dead = dead_event(message)
                    if (ids is None or dead.id in ids) and await redo(dead):
                        await channel.basic_ack(message.delivery_tag or 0)
                        done += 1
            finally:
                # What was not acknowledged goes back to where it was.
                await self._consuming.call(channel.close())
        return done

    async def _next_dead(self, channel: Channel) -> DeliveredMessage | None:
        message = await self._consuming.call(channel.basic_get(self._topology.dead))
        return message if message.delivery_tag else None

    async def health(self) -> TransportHealth:
        """See `Transport`. Not well when events are dead, or nobody consumes what waits."""
        line = self._publishing
        channel = await line.channel(self._topology.declare)
        own = await line.call(channel.queue_declare(self._topology.queue, passive=True))
        dead = await line.call(channel.queue_declare(self._topology.dead, passive=True))
        waiting, consumers = cast("int", own.message_count), cast("int", own.consumer_count)
        return TransportHealth(
            is_well=not dead.message_count and (consumers > 0 or not waiting),
            details={"waiting": waiting, "consumers": consumers, "dead": dead.message_count},
        )

    async def drain(self, grace: float) -> None:
        """See `Transport`."""
        await self._tail.stop()
        if self._consumer:
            await self._consumer.stop(grace)

    async def stop(self) -> None:
        """See `Transport`."""
        await self._tail.stop()
        await asyncio.gather(self._publishing.close(), self._consuming.close(), self._tail.close())


@contextmanager
def _told() -> Iterator[None]:
    """Raise the error of the port for one of the engine's."""
    try:
        yield
    except (QueueUnavailableError, UnroutableError, TimeoutError, OSError) as error:
        message = f"RabbitMQ does not take or give events: {str(error) or type(error).__name__}"
        raise EventBusUnavailableError(message, headers={"Retry-After": "5"}) from error
