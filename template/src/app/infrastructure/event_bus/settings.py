"""Settings of the event bus."""

from __future__ import annotations

from pydantic import Field

from app.core.settings import Count, ModuleSettings, Seconds


class EventBusSettings(ModuleSettings):
    """Which way events take, and how patient everybody is."""

    event_bus_transport: str = Field(default="local", pattern=r"^[a-z]+$")
    """Which way events take: local (inside one process), or one of the folders event_bus_* this
    service has, by the rest of its name."""
    event_bus_namespace: str = Field(default="", pattern=r"^[a-z0-9-]*$")
    """Services that name the same one hear each other's events; empty: the service's own."""
    event_bus_group: str = Field(default="", pattern=r"^[a-z0-9-]*$")
    """Of the processes of one group, one handles an event; empty: all processes of the service."""
    event_bus_consume: bool = True
    """Whether this process handles events that come over the transport."""
    event_bus_concurrency: Count = Field(default=10, ge=1, le=1000)
    """Events one process handles at the same time."""
    event_bus_handler_timeout: Seconds = Field(default=30.0, gt=0)
    """How long one call of a handler may take, unless it says so itself."""
    event_bus_claim_idle: Seconds = Field(default=30.0, ge=1)
    """An event whose process was not heard of for this long is handled by another one."""
    event_bus_deliveries: Count = Field(default=5, ge=1)
    """An event is dead when so many processes have died of it."""
    event_bus_window: Count = Field(default=100_000, ge=100)
    """Events that are kept for replay, and for who was away, at least; older ones are trimmed."""
    event_bus_dead_window: Count = Field(default=10_000, ge=100)
    """Dead events that are kept."""
