"""Send messages: persistent, to a queue that exists, and confirmed by the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiormq import Channel
from loguru import logger

from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.queue.rabbitmq.confirms import Confirms, UnroutableError
from app.infrastructure.queue.rabbitmq.frames import publish
from app.infrastructure.queue.rabbitmq.line import Line
from app.infrastructure.queue.rabbitmq.records import Records
from app.infrastructure.queue.rabbitmq.topology import (
    declare_graveyard,
    declare_ladder,
    declare_lane,
    lane,
    way,
)
from app.infrastructure.queue.rabbitmq.wire import Parcel

MARK_AFTER = 0.02
"""Seconds until confirmed messages are noted in Redis, many at a time."""
LARGEST_MARK = 500


class Publisher:
    """Sends the messages of one process."""

    def __init__(self, line: Line, records: Records, namespace: str, group: int) -> None:
        """Send over `line`.

        Args:
            line: a connection of its own.
            records: where it is noted what was sent.
            namespace: begins the names of queues.
            group: copies of each queue; 0: RabbitMQ decides.
        """
        self._line = line
        self._records = records
        self._namespace = namespace
        self._group = group
        self._declared: set[tuple[str, int]] = set()
        self._confirms: Confirms | None = None
        self._confirmed: list[Parcel] = []
        self._marking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, and declare what all queues share.

        Raises:
            QueueUnavailableError: the broker can't be reached.
            ConfigurationError: something is declared otherwise.
        """
        await self._line.channel(self._prepare)

    async def _prepare(self, channel: Channel) -> None:
        self._declared.clear()
        await declare_ladder(channel, self._group)
        self._confirms = Confirms()
        self._line.transport.tap.tap(channel.number, self._confirms)
        channel.closing.add_done_callback(self._confirms.lost)

    async def ready(self, queue: str, priority: int) -> None:
        """Make sure a lane is there; raises as `start`."""
        channel = await self._line.channel(self._prepare)
        if (queue, priority) not in self._declared:
            await self._line.call(self._declare(channel, queue, priority))
            self._declared.add((queue, priority))

    async def _declare(self, channel: Channel, queue: str, priority: int) -> None:
        await declare_graveyard(channel, self._namespace, queue, self._group)
        await declare_lane(channel, self._namespace, queue, priority, self._group)

    async def send(self, parcels: Sequence[Parcel]) -> None:
        """Send messages and wait until all are confirmed.

        Raises:
            QueueUnavailableError: not all of them were, in time.
            ConfigurationError: as `start`.
        """
        try:
            await self._send(parcels)
        except UnroutableError:
            # Somebody deleted a queue. It is declared again, once.
            self._declared.clear()
            try:
                await self._send(parcels)
            except UnroutableError as error:
                message = "RabbitMQ has no queue for the job, though it was just declared"
                raise QueueUnavailableError(message) from error
        self._confirmed += parcels
        if self._marking is None:
            self._marking = asyncio.create_task(self._mark(), name="note what was sent")

    async def _send(self, parcels: Sequence[Parcel]) -> None:
        for wanted in {(parcel.queue, parcel.priority) for parcel in parcels} - self._declared:
            await self.ready(*wanted)
        channel = await self._line.channel(self._prepare)
        await self._line.call(self._publish(channel, parcels))

    async def _publish(self, channel: Channel, parcels: Sequence[Parcel]) -> None:
        confirms = self._confirms
        if confirms is None:
            raise ConnectionError(channel)
        transport = self._line.transport
        longest = channel.connection.connection_tune.frame_max
        batch = confirms.expect([parcel.id for parcel in parcels])
        try:
            for parcel in parcels:
                target = lane(self._namespace, parcel.queue, parcel.priority)
                to = way(target, parcel.due)
                transport.write(publish(channel.number, to, parcel.content(), longest))
            await transport.let_drain()
            await batch
        finally:
            confirms.forget(batch)

    async def _mark(self) -> None:
        """Note what was sent; what could not be noted is sent again one day, and done once."""
        await asyncio.sleep(MARK_AFTER)
        self._marking = None
        confirmed, self._confirmed = self._confirmed, []
        try:
            for begin in range(0, len(confirmed), LARGEST_MARK):
                await self._records.mark_sent(confirmed[begin : begin + LARGEST_MARK])
        except QueueUnavailableError as error:
            logger.debug("Could not note that {} messages were sent: {}", len(confirmed), error)

    async def close(self) -> None:
        """Note the last messages, and disconnect."""
        if self._marking is not None:
            await asyncio.wait((self._marking,), timeout=1.0)
        await self._line.close()
