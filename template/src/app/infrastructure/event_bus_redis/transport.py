"""The transport over Redis Streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis

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
from app.infrastructure.event_bus.settings import EventBusSettings
from app.infrastructure.event_bus_redis.consumer import Consumer
from app.infrastructure.event_bus_redis.streams import EVENT, Link, Streams, dead_event, received
from app.infrastructure.event_bus_redis.tail import Tail
from app.infrastructure.redis import REDIS_ERRORS
from app.infrastructure.redis.client import close_client

LONGEST_BLOCK = 2.0
"""Seconds a read may wait; less than half of `REDIS_TIMEOUT`, or it would count as an outage."""
LARGEST_ID = 2**64 - 1
PAGE = 500


class RedisTransport:
    """See `Transport`."""

    def __init__(
        self,
        connect: Callable[..., Redis],
        streams: Streams,
        settings: EventBusSettings,
        timeout: float,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            connect: makes clients.
            streams: which.
            settings: of the bus.
            timeout: seconds after which the client takes the server for lost.
        """
        self._link = Link(
            connect(), connect(max_connections=2), streams, min(LONGEST_BLOCK, timeout / 2)
        )
        self._redis = self._link.redis
        self._streams = streams
        self._settings = settings
        self._tail = Tail(self._link)
        self._consumer: Consumer | None = None
        self._hear: Hear | None = None

    async def start(self, handle: Handle, hear: Hear) -> None:
        """See `Transport`."""
        with _told():
            await self._link.make_group("$")
        self._hear = hear
        self._consumer = Consumer(self._link, self._settings, handle)

    async def consume(self, *, group: bool) -> None:
        """See `Transport`."""
        if self._hear is None or self._consumer is None:
            return
        with _told():
            await self._tail.start(self._hear)
        if group:
            self._consumer.start()

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        """See `Transport`: written when it returns. As safe as the server's persistence."""
        bodies = [envelope.to_json() for envelope in envelopes]
        with _told():
            if len(bodies) == 1:
                await self._add(self._redis, bodies[0])
                return
            pipe = self._redis.pipeline(transaction=False)
            for body in bodies:
                self._add(pipe, body)
            await pipe.execute()

    def _add(self, target: Any, body: str) -> Any:
        return target.xadd(
            self._streams.events, {EVENT: body}, maxlen=self._streams.window, approximate=True
        )

    @property
    def position(self) -> str | None:
        """See `Transport`."""
        return self._tail.position

    async def since(self, stream_id: str, limit: int) -> History:
        """See `Transport`."""
        order = order_of(stream_id)
        if not 1 <= len(order) <= 2 or max(order) > LARGEST_ID:  # noqa: PLR2004 - ms and number
            return History([], is_complete=False)
        with _told():
            items = await self._after(stream_id, limit)
            # Asked last: what is kept now was kept when it was read.
            if order > (0, 0) and not await self._link.is_kept(stream_id):
                return History([], is_complete=False)
        return History(items, is_complete=True)

    async def _after(self, stream_id: str, limit: int) -> list[Received]:
        items: list[Received] = []
        last = stream_id
        while (free := limit - len(items)) > 0:
            found = await self._redis.xrange(self._streams.events, f"({last}", "+", free)
            items += [item for entry in found if (item := received(entry))]
            if len(found) < free:
                break
            last = found[-1][0]
        return items

    async def dead(self, limit: int) -> Sequence[DeadEvent]:
        """See `Transport`."""
        with _told():
            found = await self._redis.xrevrange(self._streams.dead, count=limit)
        return [dead_event(entry) for entry in found]

    async def revive(
        self, ids: Collection[str] | None, redo: Callable[[DeadEvent], Awaitable[bool]]
    ) -> int:
        """See `Transport`."""
        done = 0
        async for item in self._buried():
            if (ids is None or item.id in ids) and await redo(item):
                with _told():
                    await self._redis.xdel(self._streams.dead, item.id)
                done += 1
        return done

    async def _buried(self) -> AsyncIterator[DeadEvent]:
        last = "-"
        while True:
            with _told():
                found = await self._redis.xrange(self._streams.dead, last, "+", PAGE)
            for entry in found:
                yield dead_event(entry)
            if len(found) < PAGE:
                return
            last = f"({found[-1][0]}"

    async def health(self) -> TransportHealth:
        """See `Transport`. Not well when events are dead, or half the window is not handled."""
        groups = await self._redis.xinfo_groups(self._streams.events)
        own = next((item for item in groups if item["name"] == self._streams.group), None)
        dead = await self._redis.xlen(self._streams.dead)
        lag = (own or {}).get("lag")
        late = lag is not None and lag > self._streams.window / 2
        return TransportHealth(
            is_well=own is not None and not dead and not late,
            details={"waiting": lag, "running": (own or {}).get("pending"), "dead": dead},
        )

    async def drain(self, grace: float) -> None:
        """See `Transport`."""
        await self._tail.stop()
        if self._consumer:
            await self._consumer.stop(grace)

    async def stop(self) -> None:
        """See `Transport`."""
        await self._tail.stop()
        await asyncio.gather(close_client(self._redis), close_client(self._link.blocking))


@contextmanager
def _told() -> Iterator[None]:
    """Raise the error of the port for one of the library's."""
    try:
        yield
    except REDIS_ERRORS as error:
        message = f"Redis does not take or give events: {type(error).__name__}"
        raise EventBusUnavailableError(message, headers={"Retry-After": "5"}) from error
