"""Read one lane of a queue, on a channel of its own.

So a lane whose leader is away holds up no other one: the broker answers nothing more on a channel
that asked such a queue for something.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from loguru import logger

from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.queue.rabbitmq.acks import Acks
from app.infrastructure.queue.rabbitmq.frames import (
    Content,
    TappedTransport,
    acknowledge,
    give_back,
)
from app.infrastructure.queue.rabbitmq.line import Line
from app.infrastructure.queue.rabbitmq.wire import Arrival, read_message

QUIET, LONGEST_QUIET, ANSWERS = 0.01, 0.25, 3
"""Seconds. A lane that was handed as many messages as it may be may have more: the lanes after it
wait so long for them, or as long as the broker takes for three answers, when that is more."""
QUIET_FIRST = 0.1
"""The same, when a lane is read for the first time: the broker may have to read its disk."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a lane that failed is tried again."""


@dataclass(slots=True, eq=False)
class Message:
    """A message this worker holds, or held: its channel may be gone."""

    arrival: Arrival
    lane: Lane
    acks: Acks
    tag: int
    headers: Any

    @property
    def is_held(self) -> bool:
        """Whether the broker still counts it as this worker's, as far as one can see."""
        return self.acks is self.lane.acks and self.lane.is_open

    def done(self) -> None:
        """Acknowledge it, soon."""
        if self.acks.done(self.tag):
            self.lane.let_go(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneParts:
    """What a lane works with."""

    queue: str
    name: str
    """Of the broker's queue."""
    tag: str
    """Of the subscription."""
    line: Line
    declare: Callable[[Channel], Awaitable[None]]
    prefetch: Callable[[], int]
    """How many messages it may be handed."""
    came: Callable[[], None]
    """Called when there is a new message in `buffer`."""


async def _nothing(_message: DeliveredMessage) -> None:
    """Take what is taken out before it gets here."""


class _Receiver:
    """See `Tapped`: the messages of a lane's channel."""

    def __init__(self, lane: Lane, acks: Acks) -> None:
        self._lane = lane
        self._acks = acks

    def delivered(self, tag: int, content: Content) -> None:
        self._lane.came(tag, content, self._acks)

    def confirmed(self, tag: int, *, multiple: bool, taken: bool) -> None:
        """Nothing is published on this channel."""

    def returned(self, content: Content) -> None:
        """As above."""


class Lane:
    """See the module."""

    def __init__(self, parts: LaneParts) -> None:
        """Prepare; nothing is read yet."""
        self._parts = parts
        self._channel: Channel | None = None
        self._transport: TappedTransport | None = None
        self._prefetch = 0
        self._failures = 0
        self._not_before = 0.0
        self._held = 0
        self._was_full = 0.0
        self._quiet = QUIET
        self.acks = Acks()
        self.buffer: deque[Message] = deque()
        self.is_subscribed = False

    @property
    def is_open(self) -> bool:
        """Whether it has a channel that works, as far as one can see from here."""
        return self._channel is not None and not self._channel.is_closed

    @property
    def may_have_more(self) -> float:
        """Seconds for which later lanes have to wait for what this one may still bring."""
        if not self.is_subscribed:
            return 0.0
        if self._held >= self._prefetch:
            return self._quiet
        return max(self._was_full + self._quiet - time.monotonic(), 0.0)

    async def open(self) -> bool:
        """Open and subscribe if that is necessary and its time has come; tell whether it is open.

        Raises:
            ConfigurationError: the queue is declared otherwise.
        """
        if self.is_open:
            return True
        if time.monotonic() < self._not_before:
            return False
        self.is_subscribed = False
        self.buffer.clear()
        try:
            async with asyncio.timeout(self._parts.line.timeout):
                channel = await self._parts.line.another_channel()
                self._channel, self.acks, self._held = channel, Acks(), 0
                self._transport = self._parts.line.transport
                self._transport.tap.tap(channel.number, _Receiver(self, self.acks))
                await self._parts.declare(channel)
                channel.on_consumer_cancel_callbacks.add(self._on_cancel)
                await self._subscribe(channel)
                self._was_full = time.monotonic() + max(QUIET_FIRST - self._quiet, 0.0)
        except (QueueUnavailableError, TimeoutError) as error:
            self._fail(error)
            return False
        except Exception as error:
            self._fail(error)
            if type(error).__module__.startswith("app."):
                raise
            return False
        if self._failures:
            logger.info("Lane {} is read again", self._parts.name)
        self._failures = 0
        return True

    def _fail(self, error: BaseException) -> None:
        if not self._failures:
            said = str(error) or type(error).__name__
            logger.warning("Lane {} can't be read, trying again: {}", self._parts.name, said)
        pause = min(FIRST_PAUSE * 2.0 ** min(self._failures, 10), LONGEST_PAUSE)
        self._failures += 1
        self._not_before = time.monotonic() + pause
        self.drop()

    def drop(self) -> None:
        """Give up the channel: what was not acknowledged goes back by itself."""
        channel, self._channel = self._channel, None
        self.is_subscribed = False
        self.buffer.clear()
        if channel is not None and self._transport is not None:
            self._transport.tap.untap(channel.number)
            self._parts.line.leave(channel)

    async def _subscribe(self, channel: Channel) -> None:
        self._prefetch = self._parts.prefetch()
        asked = time.monotonic()
        # The broker applies it to the subscription that follows.
        await channel.basic_qos(prefetch_count=self._prefetch)
        self._was_full = time.monotonic()
        self._quiet = min(max(ANSWERS * (self._was_full - asked), QUIET), LONGEST_QUIET)
        # Messages never get to the library: it would call a function that does nothing.
        await channel.basic_consume(self._parts.name, _nothing, consumer_tag=self._parts.tag)
        self.is_subscribed = True

    def came(self, tag: int, content: Content, acks: Acks) -> None:
        """Keep a message that was delivered."""
        acks.delivered(tag)
        if acks is not self.acks:
            return
        self._held += 1
        arrival = read_message(self._parts.queue, content)
        self.buffer.append(Message(arrival, self, acks, tag, content.headers))
        self._parts.came()

    def _on_cancel(self, _frame: object) -> None:
        """The broker has ended the subscription: the queue was deleted, or its leader is gone."""
        logger.warning("RabbitMQ ended the subscription to {}", self._parts.name)
        self.drop()

    async def resume(self) -> None:
        """Subscribe again after `pause`, or with another prefetch."""
        await self._do(self._subscribe)

    async def pause(self) -> None:
        """End the subscription; what was handed out stays."""
        if self.is_subscribed:
            self.is_subscribed = False
            await self._do(lambda channel: channel.basic_cancel(self._parts.tag))

    async def probe(self) -> None:
        """Ask the broker whether it still knows the subscription; drop the channel if not."""

        async def ask(channel: Channel) -> None:
            answer = await channel.queue_declare(self._parts.name, passive=True)
            if self.is_subscribed and not answer.consumer_count:
                logger.warning("RabbitMQ has no consumer for {} any more", self._parts.name)
                self.drop()

        await self._do(ask)

    def acknowledge(self) -> None:
        """Tell the broker what is done."""
        channel = self._channel
        if channel is None or channel.is_closed:
            return
        upto, single = self.acks.take()
        if not (upto or single):
            return
        if upto:
            self._write(channel, acknowledge(channel.number, upto, multiple=True))
        for tag in single:
            self._write(channel, acknowledge(channel.number, tag, multiple=False))

    def _write(self, channel: Channel, frame: bytes) -> None:
        if self._transport is not None and channel is self._channel:
            self._transport.write(frame)

    def give_back(self, messages: Sequence[Message]) -> None:
        """Give messages back to the broker, for another worker."""
        channel = self._channel
        for message in messages:
            if channel is None or not message.is_held:
                continue
            if message.acks.told(message.tag):
                self.let_go(message)
            self._write(channel, give_back(channel.number, message.tag))

    def let_go(self, message: Message) -> None:
        """Count one message less."""
        if message.acks is self.acks:
            if self._held >= self._prefetch:
                self._was_full = time.monotonic()
            self._held -= 1

    async def _do(self, work: Callable[[Channel], Awaitable[Any]]) -> None:
        """Ask something of the broker on this lane's channel; it is dropped if that fails."""
        channel = self._channel
        if channel is None or channel.is_closed:
            return
        try:
            async with asyncio.timeout(self._parts.line.timeout):
                await work(channel)
        except Exception as error:  # noqa: BLE001 - the library raises whatever it was closed with
            self._fail(error)
