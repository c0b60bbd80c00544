"""Every event, in every process: for who shows what happens, such as a stream of events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from loguru import logger

from app.infrastructure.event_bus.errors import SlowFollowerError
from app.infrastructure.event_bus.patterns import matches
from app.infrastructure.event_bus.ports import Received, order_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Wanted = Callable[[Received], bool]


class Follower:
    """Reads events as they come: `async for received in follower`. Holds a bounded number."""

    def __init__(self, wanted: Wanted, buffer: int) -> None:
        """Hold at most `buffer` events that are `wanted` and not read yet."""
        self._wanted = wanted
        self._room = buffer
        self._waiting: deque[Received] = deque()
        self._awake = asyncio.Event()
        self._too_slow = False
        self._ended = False
        self._after: tuple[int, ...] = ()
        self.is_complete = True
        """False: events after the id it was to begin with are gone; begin anew."""
        self.began_at: str | None = None
        """The id of the last event before those it hears; None: not known."""
        self.missed = False
        """Events were missed before one that is not wanted, so no `after_gap` will say so."""

    @property
    def is_too_slow(self) -> bool:
        """Whether it was cut off: reading raises, whenever that will be."""
        return self._too_slow

    def seen(self, position: str | None) -> str | None:
        """Return the id up to which nothing is left to read; None: not known.

        Args:
            position: of the transport.
        """
        if position is None or self._waiting or self._too_slow or self.missed:
            return None
        return max(position, "-".join(map(str, self._after)), key=order_of)

    def take(self, received: Received) -> None:
        """Hold an event for the reader; cut him off when there is no room."""
        if self._too_slow or self._ended:
            return
        if not self._wanted(received):
            self.missed = self.missed or received.after_gap
            return
        if self._after and order_of(received.stream_id) <= self._after:
            return  # read already, from what is kept: the one that hears may be behind
        if len(self._waiting) >= self._room:
            self._too_slow = True
            self._waiting.clear()
        else:
            self._waiting.append(received)
        self._awake.set()

    def begin(self, after: str, items: list[Received], *, is_complete: bool) -> None:
        """Put what came after an id in front; what is heard of it as well is not read twice."""
        self.is_complete = is_complete
        if is_complete:
            self._after = order_of(items[-1].stream_id if items else after)
        live = [item for item in self._waiting if order_of(item.stream_id) > self._after]
        # What is replayed needs no room: it is bounded by the window it was read from.
        self._waiting = deque([*filter(self._wanted, items), *live])
        self._awake.set()

    def end(self) -> None:
        """Nothing more comes; what is held can still be read."""
        self._ended = True
        self._awake.set()

    def __aiter__(self) -> Self:
        """Iterate."""
        return self

    async def __anext__(self) -> Received:
        """Return the next event.

        Raises:
            SlowFollowerError: they came faster than they were read. Nothing more comes.
        """
        while not self._waiting:
            if self._too_slow:
                raise SlowFollowerError
            if self._ended:
                raise StopAsyncIteration
            self._awake.clear()
            await self._awake.wait()
        return self._waiting.popleft()


class Feed:
    """The followers of one process."""

    def __init__(self) -> None:
        """Begin with none."""
        self._followers: set[Follower] = set()

    def __bool__(self) -> bool:
        """Tell whether anybody follows."""
        return bool(self._followers)

    def __len__(self) -> int:
        """Return how many follow."""
        return len(self._followers)

    def hear(self, received: Received) -> None:
        """Give an event to all followers."""
        for follower in tuple(self._followers):
            try:
                follower.take(received)
            except Exception as error:  # noqa: BLE001 - a filter's; the others must get the event
                logger.opt(exception=error).error("A follower of events fails")

    def end(self) -> None:
        """Let every follower come to its end."""
        for follower in tuple(self._followers):
            follower.end()

    @contextmanager
    def follow(
        self, patterns: tuple[str, ...], where: Wanted | None, buffer: int
    ) -> Iterator[Follower]:
        """Follow within the block."""

        def wanted(received: Received) -> bool:
            name = received.envelope.name
            if patterns and not any(matches(pattern, name) for pattern in patterns):
                return False
            return where is None or where(received)

        follower = Follower(wanted, buffer)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)
