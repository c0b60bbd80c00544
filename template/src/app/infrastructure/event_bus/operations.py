"""What `app events` does, and what it prints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from dishka import AsyncContainer

from app.core.discovery import discover
from app.core.errors import ConfigurationError
from app.core.service import in_service
from app.core.settings import load_settings
from app.infrastructure.event_bus.bus import LOCAL, PAGE, EventBus
from app.infrastructure.event_bus.errors import NoHistoryError
from app.infrastructure.event_bus.handlers import EventHandler
from app.infrastructure.event_bus.patterns import compiled, matches
from app.infrastructure.event_bus.ports import order_of
from app.infrastructure.event_bus.settings import EventBusSettings

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which events are handled again."""

    begin: str
    """The id before the first."""
    last: str
    """Empty: up to the newest."""
    pattern: str
    handlers: frozenset[str]
    """Empty: all."""


def _with_bus(use: Callable[[EventBus], Awaitable[ResultT]]) -> ResultT:
    registry = discover()
    settings = load_settings(registry.modules)
    if settings.get(EventBusSettings).event_bus_transport == LOCAL:
        message = (
            "EVENT_BUS_TRANSPORT=local keeps events in the memory of each process: there is "
            "nothing a command could see"
        )
        raise NoHistoryError(message)

    async def run(container: AsyncContainer) -> ResultT:
        return await use(await container.get(EventBus))

    return in_service(registry, run)


def handlers() -> str:
    """Return the handlers, a line each."""
    return "\n".join(map(_line, discover().contributions(EventHandler))) or "no handlers"


def _line(handler: EventHandler[..., object]) -> str:
    traits = [f"priority {handler.priority}" if handler.priority else ""]
    traits += ["once" if handler.once else "", "everywhere" if handler.everywhere else ""]
    traits += [f"{handler.retry.attempts} attempts"]
    kinds = ", ".join(f"{kind.name} v{kind.version}" for kind in handler.kinds.values())
    said = ", ".join(filter(None, traits))
    return f"{handler.pattern:30} {handler.name}  ({kinds or 'any event'}; {said})"


def dead(limit: int) -> str:
    """Return the dead events, a line each."""

    async def look(bus: EventBus) -> list[str]:
        return [
            f"{item.id}  {item.envelope or 'unreadable'}  {item.handler or '-'}  "
            f"{item.reason.splitlines()[0] if item.reason else ''}"
            for item in await bus.transport.dead(limit)
        ]

    return "\n".join(_with_bus(look)) or "none"


def revive(ids: list[str] | None) -> int:
    """Have dead events handled again; None: all."""
    return _with_bus(lambda bus: bus.transport.revive(ids, bus.redo))


def replay(chosen: Chosen) -> str:
    """Have kept events handled again, the oldest first.

    Raises:
        ConfigurationError: an id or the pattern can't be used, or no handler has that name.
    """
    compiled(chosen.pattern)
    last = order_of(chosen.last)
    if not order_of(chosen.begin) or (chosen.last and not last):
        message = "--from and --to take ids of events, as the log and `follow` show them, or 0"
        raise ConfigurationError(message)
    known = {handler.name for handler in discover().contributions(EventHandler)}
    if missing := chosen.handlers - known:
        message = f"no handler is called {', '.join(sorted(missing))}: see `app events list`"
        raise ConfigurationError(message)

    async def run(bus: EventBus) -> str:
        count = failed = 0
        place = chosen.begin
        while True:
            history = await bus.since(place)
            if not history.is_complete:
                message = f"what came after {place} is not kept any more: see EVENT_BUS_WINDOW"
                raise ConfigurationError(message)
            for item in history.items:
                place = item.stream_id
                if last and order_of(place) > last:
                    return f"{count} events handled again, {failed} calls failed"
                if matches(chosen.pattern, item.envelope.name):
                    count += 1
                    failed += await bus.replay(item, chosen.handlers)
            if len(history.items) < PAGE:
                return f"{count} events handled again, {failed} calls failed"

    return _with_bus(run)
