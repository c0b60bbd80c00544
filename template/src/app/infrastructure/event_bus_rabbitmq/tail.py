"""Hear every event, in every process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from loguru import logger

from app.core.tasks import end
from app.infrastructure.event_bus.ports import Hear
from app.infrastructure.event_bus_rabbitmq.messages import OFFSET, offset_of, received
from app.infrastructure.event_bus_rabbitmq.topology import Topology
from app.infrastructure.queue.rabbitmq.line import Line

LONGEST_PAUSE = 5.0
"""Seconds between two tries to reach the broker."""
PREFETCH = 500
START_SECONDS = 10.0
IDLE_SECONDS = 0.5
"""When nothing came for so long, that was the end of the stream."""


class Tail:
    """Reads the end of the stream."""

    def __init__(self, line: Line, topology: Topology) -> None:
        """Read over `line`, a connection of its own."""
        self._line = line
        self._topology = topology
        self._last: int | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def position(self) -> str | None:
        """The id of the last event that was heard; None: none was."""
        return None if self._last is None else str(self._last + 1)

    async def start(self, hear: Hear) -> None:
        """Hear what is published from now on."""
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._run(hear, ready), name="events: hear")
        async with asyncio.timeout(START_SECONDS):
            await ready.wait()

    async def stop(self) -> None:
        """Hear no more."""
        if self._task:
            await end(self._task)
            self._task = None

    async def close(self) -> None:
        """Disconnect."""
        await self._line.close()

    async def _run(self, hear: Hear, ready: asyncio.Event) -> None:
        pause, gap = 0.0, False
        while True:
            try:
                begin: str | int = "next" if self._last is None else self._last + 1
                async with self.reading(begin) as messages:
                    ready.set()
                    pause = 0.0
                    while message := await messages.get():
                        offset = offset_of(message)
                        gap = gap or (self._last is not None and offset != self._last + 1)
                        self._last = offset
                        # What can't be read is told by the consumers, which put it away.
                        if item := received(message, after_gap=gap):
                            hear(item)
                            gap = False
                gap = gap or self._last is None
            except Exception as error:  # noqa: BLE001 - whatever it is: it is tried again
                if not pause:
                    said = f"{type(error).__name__}: {error}".splitlines()[0]
                    logger.warning("Events can't be heard, trying on: {}", said)
                pause = min(max(pause * 2, 0.2), LONGEST_PAUSE)
                await asyncio.sleep(pause)

    @asynccontextmanager
    async def reading(
        self, begin: str | int
    ) -> AsyncIterator[asyncio.Queue[DeliveredMessage | None]]:
        """Read the stream from an offset on, on a channel of its own; None: the channel is lost.

        Raises:
            QueueUnavailableError: the broker can't be reached.
        """
        channel = await self._line.another_channel()
        messages: asyncio.Queue[DeliveredMessage | None] = asyncio.Queue()

        async def take(message: DeliveredMessage) -> None:
            # A message read from a stream is not taken out of it: this asks for the next ones.
            await channel.basic_ack(message.delivery_tag or 0)
            messages.put_nowait(message)

        channel.closing.add_done_callback(lambda _: messages.put_nowait(None))
        channel.on_consumer_cancel_callbacks.add(lambda _: messages.put_nowait(None))
        try:
            await self._line.call(self._consume(channel, begin, take))
            yield messages
        finally:
            self._line.leave(channel)

    async def _consume(self, channel: Channel, begin: str | int, take: object) -> None:
        await self._topology.declare(channel)
        await channel.basic_qos(prefetch_count=PREFETCH)
        arguments = {OFFSET: begin}
        await channel.basic_consume(self._topology.stream, take, arguments=arguments)  # type: ignore[arg-type]  # a callback as it wants it

    async def end(self) -> int | None:
        """Return the offset of the newest event, None if there never was one."""
        last = self._last
        if last is not None:
            return last
        async with self.reading("last") as messages:
            while True:
                try:
                    message = await asyncio.wait_for(messages.get(), IDLE_SECONDS)
                except TimeoutError:
                    return last
                if message is None:
                    return last
                last = offset_of(message)
