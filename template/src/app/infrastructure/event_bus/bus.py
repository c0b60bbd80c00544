"""The event bus of one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dishka import AsyncContainer
from loguru import logger

from app.core.events import Envelope
from app.infrastructure.event_bus.dispatcher import Dispatcher, HandlerFailure
from app.infrastructure.event_bus.errors import EventBusNotStartedError, SlowFollowerError
from app.infrastructure.event_bus.feed import Feed, Follower, Wanted
from app.infrastructure.event_bus.handlers import build
from app.infrastructure.event_bus.ports import (
    DeadEvent,
    History,
    Received,
    Transport,
    TransportChoice,
)
from app.infrastructure.event_bus.retry import Retry
from app.infrastructure.event_bus.settings import EventBusSettings
from app.infrastructure.event_bus.subscriptions import Subscription, Subscriptions

FOLLOWED_BY_HANDLERS = 10_000
"""Events that may wait for handlers that run everywhere."""
LOCAL = "local"
DRAIN_SECONDS = 1.0
"""Beyond the grace of handlers, for telling the server."""
PAGE = 500
"""Events read at a time when what came before is read again."""


class EventBus:
    """Brings events to handlers and followers. Publish with `Events`, not here."""

    def __init__(
        self,
        container: AsyncContainer,
        choice: TransportChoice,
        subscriptions: Subscriptions,
        dispatcher: Dispatcher,
        settings: EventBusSettings,
    ) -> None:
        """Use the transport that was chosen; nothing is connected yet."""
        self._container = container
        self._choice = choice
        self._transport: Transport | None = None
        self.subscriptions = subscriptions
        self._dispatcher = dispatcher
        self._settings = settings
        self._feed = Feed()
        self._is_local = choice.name == LOCAL
        self._everywhere: asyncio.Task[None] | None = None

    @property
    def transport(self) -> Transport:
        """What carries the events.

        Raises:
            EventBusNotStartedError: before the start, or after the end.
        """
        if self._transport is None:
            raise EventBusNotStartedError
        return self._transport

    async def start(self) -> None:
        """Connect: events can be published from now on.

        Raises:
            EventBusUnavailableError: the server can't be reached.
            ConfigurationError: what is there is declared otherwise.
        """
        # Not before: a transport is made of what other modules have started.
        transport = await self._choice.build(self._container)
        await transport.start(self._handle, self._feed.hear)
        self._transport = transport

    async def consume(self, *, group: bool) -> None:
        """Begin to call handlers, when everything they may need has started.

        `group`: also those that one process of all runs.
        """
        if not self._is_local:
            ready = asyncio.Event()
            self._everywhere = asyncio.create_task(
                self._call_everywhere(ready), name="handlers that run everywhere"
            )
            await ready.wait()
        await self.transport.consume(group=group)

    @property
    def position(self) -> str | None:
        """The id of the last event every follower has been offered; None: not known."""
        return self.transport.position

    async def drain(self, grace: float) -> None:
        """Take no more events from elsewhere; handlers that run get so many seconds.

        Followers come to their end. What is published is still handed to the transport.
        """
        self._feed.end()
        if self._transport is None:
            return
        waiting = [asyncio.create_task(self.transport.drain(grace))]
        if self._everywhere:
            waiting.append(self._everywhere)
        await asyncio.wait(waiting, timeout=grace + DRAIN_SECONDS)
        for task in waiting:
            task.cancel()
        self._everywhere = None
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(error, Exception):
                raise error

    async def stop(self) -> None:
        """Disconnect."""
        transport, self._transport = self._transport, None
        if transport:
            await transport.stop()

    async def deliver(self, envelopes: Sequence[Envelope]) -> None:
        """Hand events to the transport; the local one calls the handlers at once.

        Raises:
            EventBusNotStartedError: before the start, or after the end.
            EventBusUnavailableError: the server can't be reached.
        """
        await self.transport.publish(envelopes)

    def subscribe(  # noqa: PLR0913 - each is a word of the declaration
        self,
        pattern: str,
        function: Callable[..., Any],
        *,
        priority: int = 0,
        once: bool = False,
        everywhere: bool = True,
        retry: Retry | None = None,
    ) -> Subscription:
        """Call a function from now on, in this process; see `on`.

        Unlike there, it gets every event, whichever process the others of the group are handled in;
        `everywhere=False` gets this process's share.

        Raises:
            ConfigurationError: the pattern or an annotation can't be used.
        """
        options = {"retry": retry} if retry else {}
        return self.subscriptions.add(
            build(function, pattern, priority=priority, once=once, everywhere=everywhere, **options)
        )

    def unsubscribe(self, subscription: Subscription) -> bool:
        """Call it no more; False: it has ended before."""
        return self.subscriptions.remove(subscription)

    @asynccontextmanager
    async def follow(
        self,
        *patterns: str,
        after: str | None = None,
        where: Wanted | None = None,
        buffer: int = 1000,
        most: int | None = None,
    ) -> AsyncIterator[Follower]:
        """Read every event of any process, in the order of their stream ids.

            async with bus.follow("order.*", after=last_seen) as events:
                if not events.is_complete: ...  # too long ago: begin anew
                async for received in events: ...

        Nothing is read twice, and nothing is left out, from the beginning of the block on, or from
        `after` on where that is still kept. On the local transport: the events of this process.

        Args:
            patterns: which; none: all.
            after: the id of the last event that was seen.
            where: which of them, decided before one takes room.
            buffer: events that may wait to be read; with more, reading raises `SlowFollowerError`.
            most: events that may have come since `after`, wanted or not; with more, it is not
                complete. By default as many as are kept.

        Raises:
            EventBusUnavailableError: what came before can't be read.
        """
        position = self.transport.position
        with self._feed.follow(patterns, where, buffer) as follower:
            follower.began_at = position
            if after is not None:
                items, is_complete = await self._all_since(after, most)
                follower.begin(after, items, is_complete=is_complete)
            yield follower

    async def since(self, stream_id: str, limit: int = PAGE) -> History:
        """Return what came after an id and is kept, the oldest first."""
        return await self.transport.since(stream_id, limit)

    async def _all_since(self, stream_id: str, most: int | None) -> tuple[list[Received], bool]:
        # Streams are trimmed roughly: somewhat more than the window may be kept.
        limit = 2 * self._settings.event_bus_window if most is None else most
        page = min(PAGE, limit + 1)
        items: list[Received] = []
        while len(items) <= limit:
            history = await self.transport.since(stream_id, page)
            items += history.items
            if not history.is_complete:
                break
            if len(history.items) < page and len(items) <= limit:
                return items, True
            stream_id = items[-1].stream_id
        return [], False

    async def redo(self, dead: DeadEvent) -> bool:
        """Call the handler a dead event died of once more; True: it has worked."""
        envelope = dead.envelope
        if envelope is None:
            return False
        chosen = [
            item
            for item in self.subscriptions.of(envelope.name)
            if (item.handler.name == dead.handler if dead.handler else not item.handler.everywhere)
        ]
        if dead.handler and not chosen:
            logger.warning("No handler is called {}: {} stays dead", dead.handler, envelope)
            return False
        return not await self._dispatcher.dispatch(envelope, chosen)

    async def replay(self, received: Received, names: frozenset[str] = frozenset()) -> int:
        """Call handlers with an event from before, all or those of the names.

        Returns:
            How many have failed.
        """
        chosen = [
            item
            for item in self.subscriptions.of(received.envelope.name)
            if not names or item.handler.name in names
        ]
        return len(await self._dispatcher.dispatch(received.envelope, chosen))

    async def _handle(self, envelope: Envelope) -> Sequence[HandlerFailure]:
        chosen = self.subscriptions.of(envelope.name)
        if self._is_local:  # most often: straight on
            return await self._dispatcher.dispatch(envelope, chosen)
        if chosen:
            chosen = tuple(item for item in chosen if not item.handler.everywhere)
        return await self._dispatcher.dispatch(envelope, chosen) if chosen else ()

    async def _call_everywhere(self, ready: asyncio.Event) -> None:
        """Call the handlers that run in every process, several events at a time."""
        room = asyncio.Semaphore(self._settings.event_bus_concurrency)

        def wanted(received: Received) -> bool:
            return any(
                item.handler.everywhere for item in self.subscriptions.of(received.envelope.name)
            )

        async def call(envelope: Envelope) -> None:
            found = self.subscriptions.of(envelope.name)
            try:
                await self._dispatcher.dispatch(
                    envelope, [item for item in found if item.handler.everywhere]
                )
            finally:
                room.release()

        while True:
            with self._feed.follow((), wanted, FOLLOWED_BY_HANDLERS) as follower:
                ready.set()
                try:
                    async with asyncio.TaskGroup() as running:
                        async for received in follower:
                            await room.acquire()
                            running.create_task(call(received.envelope))
                        return
                except* SlowFollowerError:
                    logger.error("Handlers that run everywhere are too slow: events are left out")
