"""Handlers: a function, the events it gets, and how it is to be treated."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar

from app.core.errors import ConfigurationError
from app.core.events import Envelope, Event
from app.infrastructure.event_bus.patterns import compiled, is_wild, matches
from app.infrastructure.event_bus.retry import Retry

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
ONCE_MORE = Retry()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EventHandler(Generic[P, ResultT]):
    """What `@on` makes of a function. A module contributes it."""

    name: str
    """Of the function, with its module. Dead events carry it."""
    function: Callable[P, ResultT]
    pattern: str
    kinds: Mapping[str, type[Event]] = field(default_factory=dict)
    """The classes its first parameter may have, by the events' names; none: an `Envelope`."""
    event_parameter: str = ""
    envelope_parameter: str = ""
    services: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that come from the container, and their types."""
    is_async: bool = True
    is_plain: bool = False
    """It is async, and takes the event and nothing else."""
    priority: int = 0
    once: bool = False
    everywhere: bool = False
    retry: Retry = ONCE_MORE
    timeout: float | None = None
    """Seconds one call may take; None: `EVENT_BUS_HANDLER_TIMEOUT`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> ResultT:
        """Call the function itself, as a test does."""
        return self.function(*args, **kwargs)

    def gets(self, name: str) -> bool:
        """Tell whether events of that name are for it."""
        return (not self.kinds or name in self.kinds) and matches(self.pattern, name)


def on(  # noqa: PLR0913 - each is a word of the declaration
    pattern: str = "",
    *,
    priority: int = 0,
    once: bool = False,
    everywhere: bool = False,
    retry: Retry = ONCE_MORE,
    timeout: float | None = None,
) -> Callable[[Callable[P, ResultT]], EventHandler[P, ResultT]]:
    """Make a function the handler of events.

        @on("user.registered")
        async def welcome(event: UserRegistered, mails: Mails) -> None: ...

    Its first parameter gets the event, as the class it is annotated with; or as one of several
    (`UserRegistered | UserDeleted`), of which it gets no others; or any event, as an `Envelope`.
    Every other parameter comes from the container, in a scope of this call's own: what it did in
    the database is committed when it returns. A function that is not async runs in a thread.

    It may be called more than once for an event (`Envelope.id` is the same then).

    Args:
        pattern: `*` stands for one word, `#` for any number; by default the name of the annotated
            class.
        priority: higher ones are called first; of the same, in the order of the modules.
        once: for the first event that comes to a process, and no more.
        everywhere: in every process that runs when it happens, instead of in one of them. Not
            called again after a crash.
        retry: when it fails.
        timeout: seconds one call may take; by default `EVENT_BUS_HANDLER_TIMEOUT`.

    Raises:
        ConfigurationError: the pattern or an annotation can't be used; says which.
    """

    def decorate(function: Callable[P, ResultT]) -> EventHandler[P, ResultT]:
        return build(
            function,
            pattern,
            priority=priority,
            once=once,
            everywhere=everywhere,
            retry=retry,
            timeout=timeout,
        )

    return decorate


def build(
    function: Callable[P, ResultT], pattern: str = "", **options: Any
) -> EventHandler[P, ResultT]:
    """Return the handler; see `on`."""
    name = f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"
    first, envelope, services, annotation = _parameters(function, f"the handler {name}")
    kinds = _kinds(annotation)
    if kinds is None:
        message = (
            f"the handler {name} must annotate {first!r} with a class of events that has a name, "
            f"with several of them, or with Envelope; it is {annotation!r}"
        )
        raise ConfigurationError(message)
    if not pattern:
        if len(kinds) != 1:
            message = f"the handler {name} needs a pattern: @on('user.*')"
            raise ConfigurationError(message)
        pattern = next(iter(kinds))
    compiled(pattern)
    for known in kinds:
        if not matches(pattern, known):
            message = f"the handler {name} is for {pattern!r}, and {known!r} is none of them"
            raise ConfigurationError(message)
    if len(kinds) > 1 and not is_wild(pattern):
        message = f"the handler {name} takes several events: {pattern!r} needs a * or #"
        raise ConfigurationError(message)
    is_async = inspect.iscoroutinefunction(function)
    return EventHandler(
        name=name,
        function=function,
        pattern=pattern,
        kinds=kinds,
        event_parameter=first,
        envelope_parameter=envelope,
        services=services,
        is_async=is_async,
        is_plain=is_async and not services and not envelope,
        **options,
    )


def _parameters(
    function: Callable[..., Any], where: str
) -> tuple[str, str, dict[str, Any], object]:
    """Return what the parameters are: the event's, the envelope's, services, the first's type."""
    hints = _hints(function, where)
    parameters = list(inspect.signature(function).parameters)
    for parameter in parameters:
        if parameter not in hints:
            message = f"{where} must annotate {parameter!r}"
            raise ConfigurationError(message)
    if not parameters:
        message = f"{where} must take the event as its first parameter"
        raise ConfigurationError(message)
    first, *others = parameters
    envelope = next((name for name in others if hints[name] is Envelope), "")
    services = {name: hints[name] for name in others if name != envelope}
    return first, envelope, services, hints[first]


def _hints(function: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        message = (
            f"{where} has annotations that can't be read ({error}): import those names at run "
            "time, not under TYPE_CHECKING"
        )
        raise ConfigurationError(message) from error


def _kinds(annotation: object) -> dict[str, type[Event]] | None:
    """Return the classes by their names, none for an envelope; None: it is neither."""
    if annotation is Envelope:
        return {}
    several = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is (
        typing.Union
    )
    found: dict[str, type[Event]] = {}
    for kind in typing.get_args(annotation) if several else (annotation,):
        if not (isinstance(kind, type) and issubclass(kind, Event) and hasattr(kind, "name")):
            return None
        found[kind.name] = kind
    return found
