"""Handle the events of the group: each in one of its processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from loguru import logger

from app.core.events import Envelope, InvalidEventError
from app.infrastructure.event_bus.dispatcher import HandlerFailure
from app.infrastructure.event_bus.ports import Handle
from app.infrastructure.event_bus_rabbitmq.messages import dead_properties, text_of
from app.infrastructure.event_bus_rabbitmq.topology import Topology
from app.infrastructure.queue import QueueUnavailableError
from app.infrastructure.queue.rabbitmq.line import Line

LONGEST_PAUSE = 5.0
"""Seconds between two tries to reach the broker."""
LOOK_SECONDS = 10.0
"""Between two looks whether the broker still knows of this consumer."""


class Consumer:
    """Takes messages, has them handled, acknowledges them. See `Transport`."""

    def __init__(self, line: Line, topology: Topology, handle: Handle, concurrency: int) -> None:
        """Prepare; `handle` is called `concurrency` times at the same time, at most."""
        self._line = line
        self._topology = topology
        self._handle = handle
        self._concurrency = concurrency
        self._held: dict[asyncio.Task[None], tuple[Channel, int]] = {}
        self._loop: asyncio.Task[None] | None = None
        self._tag = ""
        self._draining = False

    async def start(self) -> None:
        """Begin, as soon as the broker lets."""
        self._loop = asyncio.create_task(self._run(), name="events: consume")

    async def stop(self, grace: float) -> None:
        """Take no more, wait for handlers, give back what they have not ended."""
        self._draining = True
        if self._loop:
            self._loop.cancel()
            await asyncio.wait([self._loop])
            self._loop = None
        if self._line.is_open and self._tag:
            try:
                channel = await self._line.channel()
                await self._line.call(channel.basic_cancel(self._tag))
            except QueueUnavailableError:
                pass  # the broker gives them to others when it notices
        if self._held:
            await asyncio.wait(self._held, timeout=grace)
        left = dict(self._held)
        for task, (channel, tag) in left.items():
            task.cancel()
            if not channel.is_closed:
                await channel.basic_nack(tag, requeue=True)
        if left:
            logger.warning("{} events are given back", len(left))
            await asyncio.gather(*left, return_exceptions=True)

    async def _run(self) -> None:
        pause = 0.0
        while True:
            try:
                channel = await self._line.channel(self._topology.declare)
                await self._line.call(self._subscribe(channel))
                pause = 0.0
                await self._watch(channel)
            except Exception as error:  # noqa: BLE001 - whatever it is: consumers come back
                if not pause:
                    said = f"{type(error).__name__}: {error}".splitlines()[0]
                    logger.warning("Events can't be consumed, trying on: {}", said)
                pause = min(max(pause * 2, 0.2), LONGEST_PAUSE)
                await asyncio.sleep(pause)

    async def _subscribe(self, channel: Channel) -> None:
        async def take(message: DeliveredMessage) -> None:
            self._take(channel, message)

        # The queue was deleted, or its leader is gone; other processes may still be counted.
        channel.on_consumer_cancel_callbacks.add(lambda _: self._line.drop())
        await channel.basic_qos(prefetch_count=self._concurrency)
        answer = await channel.basic_consume(self._topology.queue, take)
        self._tag = str(answer.consumer_tag)

    async def _watch(self, channel: Channel) -> None:
        """Return when the channel is lost, or the broker does not know the consumer any more."""
        while not channel.is_closed:
            await asyncio.wait([channel.closing], timeout=LOOK_SECONDS)
            if channel.is_closed:
                break
            looked = await self._line.call(
                channel.queue_declare(self._topology.queue, passive=True)
            )
            if not looked.consumer_count:
                self._line.drop()

    def _take(self, channel: Channel, message: DeliveredMessage) -> None:
        tag = message.delivery_tag or 0
        if self._draining:
            return  # given back with the channel
        task = asyncio.create_task(self._one(channel, tag, message), name=f"event {tag}")
        self._held[task] = (channel, tag)
        task.add_done_callback(lambda done: self._held.pop(done, None))

    async def _one(self, channel: Channel, tag: int, message: DeliveredMessage) -> None:
        try:
            for failure in await self._outcome(message):
                await self._line.call(
                    channel.basic_publish(
                        message.body,
                        routing_key=self._topology.dead,
                        properties=dead_properties(failure),
                        mandatory=True,
                    )
                )
            await channel.basic_ack(tag)
        except Exception as error:  # noqa: BLE001 - it was not acknowledged: it comes again
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            logger.warning("An event comes again: {}", said)

    async def _outcome(self, message: DeliveredMessage) -> Sequence[HandlerFailure]:
        try:
            envelope = Envelope.from_json(text_of(message))
        except InvalidEventError as error:
            logger.error("What came is {}", error)
            return [HandlerFailure(handler="", attempts=0, error=str(error))]
        return await self._handle(envelope)
