"""Fixtures for tests of what a service publishes; with a bus or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from dishka import AsyncContainer, Provider, Scope

from app.core.clock import Clock
from app.core.discovery import Registry
from app.core.events import Envelope, Event, Events, EventSink
from app.core.ids import IdFactory
from app.core.settings import AppSettings


@dataclass
class PublishedEvents:
    """What was published while the test ran, and reached nobody else."""

    envelopes: list[Envelope] = field(default_factory=list)
    """In the order they would have been delivered: those of a unit of work after its commit."""

    @property
    def events(self) -> list[Event]:
        """The events themselves, to compare: `published.events == [UserDeleted(user_id=...)]`."""
        return [envelope.event for envelope in self.envelopes if envelope.event]

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return [envelope.name for envelope in self.envelopes]


@pytest.fixture
def published() -> PublishedEvents:
    """Record what the service publishes; no handler hears of it."""
    return PublishedEvents()


@pytest.fixture
def override_core(request: pytest.FixtureRequest) -> Provider:
    """What the fixture `published` replaces."""
    provider = Provider(scope=Scope.APP)
    if "published" not in request.fixturenames:
        return provider
    recorded: PublishedEvents = request.getfixturevalue("published")

    async def record(_: AsyncContainer, envelopes: Sequence[Envelope]) -> None:
        recorded.envelopes += envelopes

    def provide(
        registry: Registry,
        container: AsyncContainer,
        clock: Clock,
        ids: IdFactory,
        app: AppSettings,
    ) -> Events:
        events = Events(registry, container, clock, ids, app)
        events.sinks = (EventSink(record),)
        return events

    provider.provide(provide, override=True)
    return provider
