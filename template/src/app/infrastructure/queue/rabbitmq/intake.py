"""Take the messages of one queue from its lanes, and keep those that wait here.

They wait for a place, or for the last milliseconds until they are due. What waits too long goes
back to the broker, for another worker.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Sequence
from itertools import count

from aiormq import Channel

from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.queue.options import PRIORITIES
from app.infrastructure.queue.rabbitmq.errands import Errands
from app.infrastructure.queue.rabbitmq.lanes import Lane, LaneParts, Message
from app.infrastructure.queue.rabbitmq.parts import ConsumerParts, Shift
from app.infrastructure.queue.rabbitmq.topology import UNIT, declare_graveyard, declare_lane
from app.infrastructure.queue.rabbitmq.topology import lane as lane_name

HOLD = 1.0
"""Seconds messages may wait here while no place becomes free: then they go back to the broker, for
another worker that has one."""
EARLIEST = 4 * UNIT / 1000
"""Seconds. A message that is due within them waits here; others go down the ladder again."""


class Intake:
    """The messages one consumer holds and has not started."""

    def __init__(self, parts: ConsumerParts, shift: Shift, errands: Errands) -> None:
        """Prepare; nothing is taken yet."""
        self._parts = parts
        self._shift = shift
        self._errands = errands
        self._early: list[tuple[int, int, Message]] = []
        self._order = count()
        self._ahead = 0
        self._released = False
        self._moved = time.monotonic()
        self._lanes = [self._lane(priority) for priority in PRIORITIES]

    def _lane(self, priority: int) -> Lane:
        parts = self._parts
        name = lane_name(parts.namespace, parts.queue, priority)

        async def declare(channel: Channel) -> None:
            await declare_graveyard(channel, parts.namespace, parts.queue, parts.group)
            await declare_lane(channel, parts.namespace, parts.queue, priority, parts.group)

        return Lane(
            LaneParts(
                queue=parts.queue,
                name=name,
                tag=f"{name}:{self._shift.worker}",
                line=parts.line,
                declare=declare,
                prefetch=lambda: parts.concurrency + self._ahead,
                came=self._shift.turn,
            )
        )

    # --- the broker -------------------------------------------------------------------------

    async def open(self) -> bool:
        """Open the lanes that are not; tell whether any is.

        Raises:
            ConfigurationError: a queue is declared otherwise.
        """
        before = [lane.is_open for lane in self._lanes]
        opened = [await lane.open() for lane in self._lanes]
        if before != opened:
            self._released = False  # a lane that is opened is subscribed to
        return any(opened)

    async def probe(self) -> None:
        """Ask the broker whether it still knows this consumer: a connection alone says little.

        Raises:
            QueueUnavailableError: it does not.
        """
        for lane in self._lanes:
            await lane.probe()
        if not any(lane.is_open for lane in self._lanes):
            self._parts.line.drop()
            message = f"no lane of {self._parts.queue} answers"
            raise QueueUnavailableError(message)

    def acknowledge(self) -> None:
        """Tell the broker what is done."""
        for lane in self._lanes:
            lane.acknowledge()

    # --- what waits here --------------------------------------------------------------------

    @property
    def has_waiting(self) -> bool:
        """Whether there are messages whose jobs could be started."""
        return any(lane.buffer for lane in self._lanes)

    def pick(self, room: int) -> list[Message]:
        """Return up to `room` messages whose jobs could start now, the most urgent ones first."""
        self._wake_early()
        picked: list[Message] = []
        for number, lane in enumerate(self._lanes):
            buffer = lane.buffer
            while buffer and len(picked) < room:
                message = buffer.popleft()
                if not message.arrival.due or not self._wait_for(message):
                    picked.append(message)
            if len(picked) >= room or self._may_have_more(number):
                break
        return picked

    def _may_have_more(self, number: int) -> bool:
        """Tell whether the lanes after this one have to wait for what it may still bring."""
        if not any(lane.buffer for lane in self._lanes[number + 1 :]):
            return False
        left = self._lanes[number].may_have_more
        if left > 0:
            asyncio.get_running_loop().call_later(left, self._shift.turn)
        return left > 0

    def _wait_for(self, message: Message) -> bool:
        """Keep back a message that is not due yet; False: it is."""
        ahead = message.arrival.due - time.time() * 1000
        if ahead <= 0:
            return False
        if ahead / 1000 > EARLIEST:
            self._errands.begin(self._errands.forward_again(message))
            return True
        heapq.heappush(self._early, (message.arrival.due, next(self._order), message))
        asyncio.get_running_loop().call_later(ahead / 1000, self._shift.turn)
        return True

    def _wake_early(self) -> None:
        now = time.time() * 1000
        while self._early and self._early[0][0] <= now:
            _, _, message = heapq.heappop(self._early)
            if message.is_held:
                message.lane.buffer.appendleft(message)

    def put_back(self, messages: Sequence[Message]) -> None:
        """Let messages wait that were picked, before the others."""
        for message in reversed(messages):
            if message.is_held:
                message.lane.buffer.appendleft(message)

    # --- taking more, or less ---------------------------------------------------------------

    def moved(self) -> None:
        """Take note that jobs are started and settled: what waits here has its turn soon."""
        self._moved = time.monotonic()

    @property
    def has_waited(self) -> bool:
        """Whether there are messages, and nothing has moved for too long."""
        return self.has_waiting and time.monotonic() - self._moved > HOLD

    @property
    def is_released(self) -> bool:
        """Whether nothing is taken, since what was here had to wait too long."""
        return self._released

    @property
    def ahead(self) -> int:
        """How many messages may wait here beside those there are places for."""
        return self._ahead

    async def take_ahead(self, ahead: int) -> None:
        """Let so many messages wait here from now on."""
        if self._ahead != ahead:
            self._ahead = ahead
            for lane in self._lanes:
                await lane.pause()
                await lane.resume()

    async def subscribe(self) -> None:
        """Subscribe to lanes that are open: one may have been opened anew while all were paused."""
        for lane in self._lanes:
            if lane.is_open and not lane.is_subscribed:
                await lane.resume()

    async def release(self) -> None:
        """Take nothing more, and give back what was not started."""
        self._released = True
        waiting = [message for _, _, message in self._early]
        self._early.clear()

        async def release(lane: Lane) -> None:
            await lane.pause()
            mine = [*lane.buffer, *(message for message in waiting if message.lane is lane)]
            lane.buffer.clear()
            lane.give_back(mine)

        await asyncio.gather(*(release(lane) for lane in self._lanes))

    async def take_again(self) -> None:
        """Undo `release`."""
        self._released = False
        for lane in self._lanes:
            await lane.resume()
        self._moved = time.monotonic()
