"""Typed events: publish with `app.core.events`, handle with `@on`, follow with `EventBus`."""

from app.infrastructure.event_bus.bus import EventBus
from app.infrastructure.event_bus.errors import (
    EventBusNotStartedError,
    EventBusUnavailableError,
    NoHistoryError,
    RejectEventError,
    SlowFollowerError,
)
from app.infrastructure.event_bus.feed import Follower
from app.infrastructure.event_bus.handlers import EventHandler, on
from app.infrastructure.event_bus.ports import (
    DeadEvent,
    History,
    Received,
    Transport,
    TransportChoice,
    TransportHealth,
    order_of,
)
from app.infrastructure.event_bus.retry import Retry
from app.infrastructure.event_bus.subscriptions import Subscription

__all__ = [
    "DeadEvent",
    "EventBus",
    "EventBusNotStartedError",
    "EventBusUnavailableError",
    "EventHandler",
    "Follower",
    "History",
    "NoHistoryError",
    "Received",
    "RejectEventError",
    "Retry",
    "SlowFollowerError",
    "Subscription",
    "Transport",
    "TransportChoice",
    "TransportHealth",
    "on",
    "order_of",
]
