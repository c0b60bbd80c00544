"""Publish and subscribe: messages to whoever listens now. Nothing is kept for who does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from loguru import logger
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.infrastructure.redis.errors import REDIS_ERRORS, RedisUnavailableError
from app.infrastructure.redis.keys import KeySpace

DataT = TypeVar("DataT")
RECONNECT_PAUSES = (0.05, 0.2, 1.0, 5.0)
"""Seconds; the last one holds from then on."""


@dataclass(frozen=True, slots=True)
class Message(Generic[DataT]):
    """One message."""

    channel: str
    data: DataT
    after_gap: bool = False
    """The connection was lost before it: messages in between may be missing."""


class PubSub:
    """Typed messages on channels with the service's prefix."""

    def __init__(self, redis: Redis, keys: KeySpace) -> None:
        """Send and receive over `redis`."""
        self._redis = redis
        self._keys = keys

    async def publish(self, channel: str, data: Any) -> int:
        """Send a message: anything pydantic can write as JSON.

        Returns:
            How many subscribers got it (on a cluster: those of one node).

        Raises:
            RedisUnavailableError: Redis did not answer.
        """
        body = TypeAdapter(type(data)).dump_json(data)
        try:
            return int(await self._redis.publish(self._keys("channel", channel), body))
        except REDIS_ERRORS as error:
            raise RedisUnavailableError from error

    @asynccontextmanager
    async def subscribe(
        self, *channels: str, model: type[DataT]
    ) -> AsyncIterator[AsyncIterator[Message[DataT]]]:
        """Receive messages; subscribed when the block begins.

        Reconnects by itself and marks the first message after that. A message that is no `model` is
        logged and left out.

        Raises:
            RedisUnavailableError: the first subscription failed.
        """
        names = {self._keys("channel", channel): channel for channel in channels}
        source: Any = self._redis.pubsub(ignore_subscribe_messages=False)
        try:
            await self._listen(source, names)
        except REDIS_ERRORS as error:
            await source.aclose()
            raise RedisUnavailableError from error
        try:
            async with aclosing(self._messages(source, names, TypeAdapter(model))) as messages:
                yield messages
        finally:
            await source.aclose()

    async def _listen(self, source: Any, names: dict[str, str]) -> None:
        """Subscribe, and wait until the server has confirmed each channel."""
        await source.subscribe(*names)
        confirmed = 0
        while confirmed < len(names):
            answer = await source.get_message(timeout=5.0)
            if answer is None:
                message = "no confirmation of the subscription"
                raise RedisError(message)
            confirmed += answer["type"] == "subscribe"

    async def _messages(
        self, source: Any, names: dict[str, str], adapter: TypeAdapter[DataT]
    ) -> AsyncGenerator[Message[DataT], None]:
        failures = 0
        gap = False
        while True:
            try:
                if failures:
                    await source.aclose()
                    await self._listen(source, names)
                    failures = 0
                raw = await source.get_message(timeout=None)
            except REDIS_ERRORS as error:
                if not failures:
                    logger.warning("Subscription interrupted: {}", type(error).__name__)
                await asyncio.sleep(RECONNECT_PAUSES[min(failures, len(RECONNECT_PAUSES) - 1)])
                failures += 1
                gap = True
                continue
            if raw is None:
                continue
            if raw["type"] != "message":
                # Confirmed again: redis-py has reconnected and subscribed by itself.
                gap = gap or raw["type"] == "subscribe"
                continue
            try:
                data = adapter.validate_json(raw["data"])
            except (ValidationError, UnicodeError) as error:
                logger.warning("Message on {} left out: {}", raw["channel"], type(error).__name__)
                continue
            yield Message(names[raw["channel"]], data, gap)
            gap = False
