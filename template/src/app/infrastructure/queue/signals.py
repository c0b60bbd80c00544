"""Short messages between processes over Redis: a job has ended, a job is to be cancelled.

A message can be lost with a connection, so nobody relies on one: who waits for the end of a job
looks once after subscribing, after each reconnect, and now and then; a worker looks as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from loguru import logger
from redis.asyncio import Redis

from app.infrastructure.redis import REDIS_ERRORS, KeySpace

PAUSES = (0.05, 0.2, 1.0)
"""Seconds between attempts to reconnect; the last one holds from then on."""
LONGEST_CONFIRM = 1.0
"""Seconds Redis has to confirm a subscription."""
Cancelled = Callable[[str, str], None]
"""Called with the queue and the id of a job somebody cancelled."""


class _Topic:
    """A channel somebody in this process listens to."""

    def __init__(self) -> None:
        self.confirmed = asyncio.Event()
        self.woken = asyncio.Event()
        self.listeners = 0


class Signals:
    """One subscriber connection per process, made when it is first needed."""

    def __init__(self, redis: Redis, keys: KeySpace) -> None:
        """Send and receive over `redis`."""
        self._redis = redis
        self._keys = keys
        self._topics: dict[str, _Topic] = {}
        self._pubsub: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._on_cancel: list[Cancelled] = []
        self.cancel_channel = keys("jobs", "cancel")

    def ended_channel(self, queue: str, job_id: str) -> str:
        """Return the channel on which a worker says that a job has ended."""
        return self._keys("jobs", "ended", queue, job_id)

    @asynccontextmanager
    async def job_ended(self, queue: str, job_id: str) -> AsyncIterator[asyncio.Event]:
        """Yield an event that is set when the job may have ended: look, then clear it."""
        async with self._listening(self.ended_channel(queue, job_id)) as topic:
            yield topic.woken

    async def listen_for_cancels(self, told: Cancelled) -> None:
        """Call `told` for each job that is cancelled from now on."""
        self._on_cancel.append(told)
        if len(self._on_cancel) == 1:
            topic = self._topics.setdefault(self.cancel_channel, _Topic())
            topic.listeners += 1
            await self._subscribe(self.cancel_channel)

    async def tell_cancelled(self, queue: str, job_id: str) -> None:
        """Tell all workers that a job is to be cancelled."""
        await self._redis.publish(self.cancel_channel, f"{queue}:{job_id}")

    async def stop(self) -> None:
        """Disconnect."""
        if self._reader:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
        if self._pubsub:
            with suppress(*REDIS_ERRORS):
                await self._pubsub.aclose()

    @asynccontextmanager
    async def _listening(self, channel: str) -> AsyncIterator[_Topic]:
        topic = self._topics.setdefault(channel, _Topic())
        topic.listeners += 1
        try:
            if topic.listeners == 1:
                await self._subscribe(channel)
            with suppress(TimeoutError):  # then whoever waits has to look by itself
                await asyncio.wait_for(topic.confirmed.wait(), LONGEST_CONFIRM)
            yield topic
        finally:
            topic.listeners -= 1
            if not topic.listeners:
                self._topics.pop(channel)
                with suppress(*REDIS_ERRORS):
                    await self._pubsub.unsubscribe(channel)

    async def _subscribe(self, channel: str) -> None:
        if self._pubsub is None:
            self._pubsub = self._redis.pubsub()
        try:
            await self._pubsub.subscribe(channel)
        except REDIS_ERRORS:
            # The reader tries again: the channel is known, and asked for at each reconnect.
            logger.debug("Subscribing to {} has to wait for Redis", channel)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="job signals")

    async def _read(self) -> None:
        failures = 0
        while True:
            try:
                message = await self._pubsub.get_message(timeout=None)
                failures = 0
            except (*REDIS_ERRORS, RuntimeError):  # the latter: it was never connected
                await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1
                await self._again()
                continue
            if message:
                self._take(message)

    async def _again(self) -> None:
        """Subscribe anew after a lost connection; everybody looks, for what was said meanwhile."""
        with suppress(*REDIS_ERRORS):
            if self._topics:
                await self._pubsub.subscribe(*self._topics)
        for topic in self._topics.values():
            topic.woken.set()

    def _take(self, message: dict[str, Any]) -> None:
        channel = message["channel"]
        topic = self._topics.get(channel)
        if message["type"] == "subscribe" and topic:
            topic.confirmed.set()
            topic.woken.set()
        elif message["type"] == "message" and channel == self.cancel_channel:
            queue, _, job_id = str(message["data"]).partition(":")
            for told in self._on_cancel:
                told(queue, job_id)
        elif message["type"] == "message" and topic:
            topic.woken.set()
