"""Who gets which event in this process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.core.errors import ConfigurationError
from app.infrastructure.event_bus.handlers import EventHandler

MOST_NAMES = 1024
"""Names whose subscriptions are remembered; they come from the wire."""


@dataclass(slots=True, eq=False)
class Subscription:
    """A handler that is called. `EventBus.unsubscribe` ends it."""

    handler: EventHandler[Any, Any]
    number: int
    """Counted as they are made."""
    is_spent: bool = False
    """It was for one event, and has got it."""


Found = tuple[Subscription, ...]


class Subscriptions:
    """The handlers of this process, found by the name of an event."""

    def __init__(self, handlers: Iterable[EventHandler[Any, Any]] = ()) -> None:
        """Begin with what the modules contribute.

        Raises:
            ConfigurationError: two of them have the same name.
        """
        self._all: list[Subscription] = []
        self._last = 0
        self._known: dict[str, Found] = {}
        names: set[str] = set()
        for handler in handlers:
            if handler.name in names:
                message = f"two handlers of events are called {handler.name}: rename a function"
                raise ConfigurationError(message)
            names.add(handler.name)
            self.add(handler)

    def __iter__(self) -> Any:
        """Iterate over them, as they were made."""
        return iter(tuple(self._all))

    def add(self, handler: EventHandler[Any, Any]) -> Subscription:
        """Call a handler from now on."""
        self._last += 1
        subscription = Subscription(handler, self._last)
        self._all.append(subscription)
        self._known = {}
        return subscription

    def remove(self, subscription: Subscription) -> bool:
        """Call it no more; False: it is not there any more."""
        subscription.is_spent = True
        if subscription not in self._all:
            return False
        self._all.remove(subscription)
        self._known = {}
        return True

    def of(self, name: str) -> Found:
        """Return who gets events of that name, the first to be called first."""
        found = self._known.get(name)
        if found is None:
            chosen = [item for item in self._all if item.handler.gets(name)]
            found = tuple(sorted(chosen, key=lambda item: (-item.handler.priority, item.number)))
            if len(self._known) >= MOST_NAMES:
                self._known = {}
            self._known[name] = found
        return found
