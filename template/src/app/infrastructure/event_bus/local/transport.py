"""The transport inside one process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from itertools import islice

from app.core.events import Envelope, InvalidEventError
from app.infrastructure.event_bus.dispatcher import HandlerFailure
from app.infrastructure.event_bus.errors import EventBusNotStartedError
from app.infrastructure.event_bus.ports import (
    DeadEvent,
    Handle,
    Hear,
    History,
    Received,
    TransportHealth,
    order_of,
)
from app.infrastructure.event_bus.settings import EventBusSettings

MOST_KEPT = 10_000
"""Events kept in memory for who comes back, whatever `EVENT_BUS_WINDOW` says."""


class LocalTransport:
    """See `Transport`. Publishing calls the handlers, and returns when they are done.

    What is kept is kept in memory: other processes, and commands, do not see it.
    """

    def __init__(self, settings: EventBusSettings) -> None:
        """Prepare."""
        self._handle: Handle | None = None
        self._hear: Hear | None = None
        self._begun = time.time_ns() // 1_000_000
        self._count = 0
        self._dead_count = 0
        self._kept: deque[Received] = deque(maxlen=min(settings.event_bus_window, MOST_KEPT))
        self._dead: deque[DeadEvent] = deque(maxlen=settings.event_bus_dead_window)

    async def start(self, handle: Handle, hear: Hear) -> None:
        """See `Transport`."""
        self._handle, self._hear = handle, hear

    async def consume(self, *, group: bool) -> None:
        """See `Transport`: nothing comes from elsewhere."""

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        """See `Transport`.

        Raises:
            EventBusNotStartedError: nobody would hear of it.
        """
        if self._handle is None or self._hear is None:
            raise EventBusNotStartedError
        for envelope in envelopes:
            self._count += 1
            received = Received(f"{self._begun}-{self._count}", envelope)
            self._kept.append(received)
            self._hear(received)
            for failure in await self._handle(envelope):
                self._bury(envelope, failure)

    def _bury(self, envelope: Envelope, failure: HandlerFailure) -> None:
        self._dead_count += 1
        try:
            body = envelope.to_json()
        except InvalidEventError:  # here it need not travel; the publisher has done his work
            body = ""
        died = DeadEvent(
            id=f"{self._begun}-{self._dead_count}",
            body=body,
            reason=failure.error,
            handler=failure.handler,
            attempts=failure.attempts,
            died_at=datetime.now(UTC),
        )
        self._dead.append(died)

    @property
    def position(self) -> str:
        """See `Transport`."""
        return f"{self._begun}-{self._count}"

    async def since(self, stream_id: str, limit: int) -> History:
        """See `Transport`."""
        order = order_of(stream_id)
        last = (self._begun, self._count)
        oldest = (self._begun, self._count - len(self._kept))
        known = len(order) == len(last) and oldest <= order <= last
        found = (item for item in self._kept if order_of(item.stream_id) > order)
        return History(list(islice(found, limit)), is_complete=known)

    async def dead(self, limit: int) -> Sequence[DeadEvent]:
        """See `Transport`."""
        return list(islice(reversed(self._dead), limit))

    async def revive(
        self, ids: Collection[str] | None, redo: Callable[[DeadEvent], Awaitable[bool]]
    ) -> int:
        """See `Transport`."""
        done = 0
        for item in [item for item in self._dead if ids is None or item.id in ids]:
            if await redo(item):
                self._dead.remove(item)
                done += 1
        return done

    async def health(self) -> TransportHealth:
        """See `Transport`."""
        return TransportHealth(not self._dead, {"dead": len(self._dead)})

    async def drain(self, grace: float) -> None:
        """See `Transport`: whoever publishes waits himself."""

    async def stop(self) -> None:
        """See `Transport`."""
        self._handle = self._hear = None
