"""Events: what has happened, said to whoever wants to know.

A feature publishes without knowing who listens, or whether there is a bus at all:

    class UserRegistered(Event):
        name = "user.registered"

        user_id: UUID

    await events.publish(UserRegistered(user_id=user.id))

Modules take part by contributing: an `EventSink` gets every event, an `EventDetour` may lead one
there on another way, such as after the commit, an `EventContext` says what travels with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from dishka import AsyncContainer
from loguru import logger

from app.core.clock import Clock
from app.core.discovery import Registry
from app.core.envelopes import Envelope, Event, InvalidEventError, UnknownVersionError
from app.core.ids import IdFactory
from app.core.settings import AppSettings

__all__ = [
    "Envelope",
    "Event",
    "EventContext",
    "EventDetour",
    "EventSink",
    "Events",
    "InvalidEventError",
    "UnknownVersionError",
]


@dataclass(frozen=True, slots=True)
class EventSink:
    """Gets events that have happened for good; a module contributes it.

    `deliver` gets the application's container and the events, in order. What it raises, the
    publisher or whoever delivers on another way has to deal with, and may try again.
    """

    deliver: Callable[[AsyncContainer, Sequence[Envelope]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class EventDetour:
    """Takes events on another way to the sinks, such as through the caller's transaction.

    `take` gets the application's container and the events; False: not now. Who takes them calls
    `Events.deliver` when the time has come. The last module is asked first.
    """

    take: Callable[[AsyncContainer, Sequence[Envelope]], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class EventContext:
    """What travels with an event from its publisher: trace, user, tenant."""

    headers: Callable[[], Mapping[str, str]]
    """Names of small letters and digits (CloudEvents, naming conventions)."""


class Events:
    """Publishes events. Injected wherever something happens."""

    def __init__(
        self,
        registry: Registry,
        container: AsyncContainer,
        clock: Clock,
        ids: IdFactory,
        app: AppSettings,
    ) -> None:
        """Know who takes part."""
        self._container = container
        self._clock = clock
        self._ids = ids
        self._source = app.app_name
        self.sinks = registry.contributions(EventSink)
        self._detours = registry.contributions(EventDetour)[::-1]
        self._contexts = registry.contributions(EventContext)

    async def publish(
        self, event: Event, *, key: str | None = None, immediate: bool = False
    ) -> Envelope:
        """Say that something has happened.

        In a unit of work it is said after the commit, and never when that is rolled back. How sure
        that is depends on the modules this service has: `outbox` loses nothing in a crash.

        Args:
            event: what has happened.
            key: what it is about, such as `user:1`: where there is an outbox, events of one key
                leave it in the order they were published.
            immediate: say it now, whatever becomes of the unit of work.

        Raises:
            InvalidEventError: it has no name, or can't be written as JSON where it must be.
            AppError: of a sink that can't take it now.
        """
        envelope = self._pack(event, key)
        if not immediate and self.sinks:
            for detour in self._detours:
                if await detour.take(self._container, (envelope,)):
                    return envelope
        await self.deliver((envelope,))
        return envelope

    def _pack(self, event: Event, key: str | None) -> Envelope:
        if not hasattr(event, "name"):
            message = f"{type(event).__name__} has no name: set one, such as user.registered"
            raise InvalidEventError(message)
        headers: dict[str, str] = {}
        for context in self._contexts:
            headers.update(context.headers())
        return Envelope(
            id=self._ids(),
            name=event.name,
            version=event.version,
            occurred_at=self._clock.now(),
            source=self._source,
            key=key,
            headers=headers,
            event=event,
        )

    async def deliver(self, envelopes: Sequence[Envelope]) -> None:
        """Give events to every sink: for detours, when the time has come.

        Raises:
            ExceptionGroup: several sinks failed. One that fails alone raises its own error.
        """
        if not self.sinks:
            for envelope in envelopes:
                logger.debug("{} has happened, and nobody listens", envelope.name)
            return
        errors: list[Exception] = []
        for sink in self.sinks:
            try:
                await sink.deliver(self._container, envelopes)
            except Exception as error:  # noqa: BLE001 - the others must still get them
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            message = "sinks failed"
            raise ExceptionGroup(message, errors)
