"""What a transport does. One of them is chosen by `EVENT_BUS_TRANSPORT`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from dishka import AsyncContainer

from app.core.events import Envelope, InvalidEventError
from app.infrastructure.event_bus.dispatcher import HandlerFailure


class Received(NamedTuple):
    """An event as every process gets it."""

    stream_id: str
    """Orders events, the same in every process: numbers with - between them. See `order_of`."""
    envelope: Envelope
    after_gap: bool = False
    """Events before it may be missing: the connection was lost for too long."""


@dataclass(frozen=True, slots=True)
class History:
    """What came after an id."""

    items: Sequence[Received]
    is_complete: bool
    """False: some of what came after it is not kept any more, or the id is of another stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadEvent:
    """An event that somebody could not deal with."""

    id: str
    """Of the entry, not of the event."""
    body: str
    """As it travelled."""
    reason: str
    handler: str = ""
    """Who could not; empty: it came to no handler."""
    attempts: int = 0
    died_at: datetime | None = None

    @property
    def envelope(self) -> Envelope | None:
        """The event, None if that can't be read."""
        try:
            return Envelope.from_json(self.body)
        except InvalidEventError:
            return None


@dataclass(frozen=True, slots=True)
class TransportHealth:
    """How a transport is doing."""

    is_well: bool = True
    details: Mapping[str, object] = field(default_factory=dict)


Handle = Callable[[Envelope], Awaitable[Sequence[HandlerFailure]]]
"""Calls the handlers that get an event once for each group; returns who failed for good."""
Hear = Callable[[Received], None]
"""Takes note of an event every process gets."""


class Transport(Protocol):
    """Carries events to one process of each group, and to all processes."""

    async def start(self, handle: Handle, hear: Hear) -> None:
        """Connect. Events that are published from now on wait for the group.

        Raises:
            EventBusUnavailableError: the server can't be reached.
            ConfigurationError: what is there is declared otherwise.
        """
        ...

    async def consume(self, *, group: bool) -> None:
        """Begin to call `hear` with events of all processes, and with `group` also `handle`."""
        ...

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Hand over events; they are safe when it returns.

        Raises:
            EventBusUnavailableError: it may not have happened.
        """
        ...

    @property
    def position(self) -> str | None:
        """The id of the last event `hear` was called with, or would have been; None: not known."""
        ...

    async def since(self, stream_id: str, limit: int) -> History:
        """Return what came after an id, the oldest first, at most so many.

        Fewer than that are all there are: what holds no event that can be read does not count.

        Raises:
            EventBusUnavailableError: the server can't be reached.
        """
        ...

    async def dead(self, limit: int) -> Sequence[DeadEvent]:
        """Return dead events, the newest first.

        Raises:
            EventBusUnavailableError: the server can't be reached.
        """
        ...

    async def revive(
        self, ids: Collection[str] | None, redo: Callable[[DeadEvent], Awaitable[bool]]
    ) -> int:
        """Try dead events again, those of the ids or all: those that `redo` says True of are gone.

        Raises:
            EventBusUnavailableError: the server can't be reached.
        """
        ...

    async def health(self) -> TransportHealth:
        """Tell how it is doing. Raises when the server does not answer."""
        ...

    async def drain(self, grace: float) -> None:
        """Take no more events; wait so many seconds for those in hand, give back the others."""
        ...

    async def stop(self) -> None:
        """Disconnect."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportChoice:
    """A transport a module contributes."""

    name: str
    """As `EVENT_BUS_TRANSPORT` has it."""
    build: Callable[[AsyncContainer], Awaitable[Transport]]


def order_of(stream_id: str) -> tuple[int, ...]:
    """Return what ids are compared by; nothing, for what is none."""
    parts = stream_id.split("-")
    if not all(part.isascii() and part.isdigit() and len(part) <= 20 for part in parts):  # noqa: PLR2004 - digits of 2**64
        return ()
    return tuple(map(int, parts))
