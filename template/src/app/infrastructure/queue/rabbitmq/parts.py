"""What the parts of a consumer share: what they work with, and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import uuid4

from app.infrastructure.queue.engine import JobRunner
from app.infrastructure.queue.patience import Pulse
from app.infrastructure.queue.rabbitmq.line import Line
from app.infrastructure.queue.rabbitmq.publisher import Publisher
from app.infrastructure.queue.rabbitmq.records import Records
from app.infrastructure.queue.redis_scripts import Commands


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerParts:
    """What a consumer works with."""

    queue: str
    namespace: str
    group: int
    line: Line
    """A connection of its own."""
    records: Records
    publisher: Publisher
    connect: Callable[[], Commands]
    """Makes the connection of the thread that keeps the lock."""
    runner: JobRunner
    concurrency: int
    lock: float
    """Seconds this worker keeps its jobs without being heard of."""
    ended_channel: str
    """Begins the channels on which it is told that a job has ended."""
    listen: Callable[[], Awaitable[None]]
    """Makes this process hear of cancelled jobs."""
    resend: Callable[[str, str], Awaitable[None]]
    """Sends the message of a job, given queue and id."""
    tick: Callable[[], Awaitable[float]]
    """Does what is due by schedule; returns the seconds until it wants to be called again."""


@dataclass(frozen=True, slots=True)
class Shift:
    """The time a consumer works, from its start to its end."""

    worker: str = field(default_factory=lambda: uuid4().hex)
    """Its name, in Redis and at the broker."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: there may be something to settle or to claim."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: nothing more is taken."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: what could be settled is."""
    pulse: Pulse = field(default_factory=Pulse)

    def turn(self) -> None:
        """Let a conductor look what there is to do."""
        self.wake.set()
