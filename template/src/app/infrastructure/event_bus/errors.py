"""What can go wrong with events."""

from __future__ import annotations

from app.core.errors import AppError, ServiceUnavailableError


class EventBusError(AppError):
    """Something is wrong with the event bus."""


class EventBusUnavailableError(ServiceUnavailableError):
    """Events can't be published at the moment."""


class EventBusNotStartedError(EventBusUnavailableError):
    """The event bus is not started: use it inside the service's lifespan."""


class RejectEventError(EventBusError):
    """The handler will never be able to deal with this event: do not try again."""


class HandlerTimeoutError(EventBusError):
    """The handler took too long."""


class CancelledInsideError(EventBusError):
    """The handler awaited something that somebody else had cancelled."""


class SlowFollowerError(EventBusError):
    """Events came faster than they were read, and there is no room for more of them."""


class NoHistoryError(EventBusError):
    """This transport keeps no events that a command could read."""
