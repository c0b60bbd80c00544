"""Handlers: a function, the name of its jobs, and how they are to be treated."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, Protocol, TypeVar, Unpack, cast, overload

from pydantic import PydanticUserError, TypeAdapter

from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.infrastructure.queue.codec import ResultCodec
from app.infrastructure.queue.context import JobContext
from app.infrastructure.queue.options import JobOptions, OptionChanges

PayloadT = TypeVar("PayloadT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHandler(Generic[PayloadT, ResultT]):
    """What `@job` makes of a function. A module contributes it; callers publish to it."""

    name: str
    function: Callable[..., Any]
    options: JobOptions
    payload: TypeAdapter[PayloadT] | None
    """Reads and writes the payload; None: the function takes none."""
    result: ResultCodec[ResultT]
    services: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that come from the container, and their types."""
    context_parameter: str | None = None
    payload_parameter: str | None = None
    is_async: bool = True
    more_queues: frozenset[str] = frozenset()
    """Queues its jobs may be in beside the one of `options`."""
    on_request: bool = False
    """Whether workers take its jobs only when their queues are named, in `WORKER_QUEUES`: for work
    that would keep the other jobs of a process waiting."""

    async def __call__(self, *args: Any, **kwargs: Any) -> ResultT:
        """Call the function itself, as a test does. One that is not async runs here."""
        outcome = self.function(*args, **kwargs)
        return cast("ResultT", await outcome if inspect.isawaitable(outcome) else outcome)


class JobDecorator(Protocol):
    """What `job(...)` returns: it keeps the types of the payload and of the result."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, ...], Coroutine[Any, Any, ResultT]], /
    ) -> JobHandler[None, ResultT]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[PayloadT, ...], Coroutine[Any, Any, ResultT]], /
    ) -> JobHandler[PayloadT, ResultT]: ...

    @overload
    def __call__(
        self, function: Callable[[], Coroutine[Any, Any, ResultT]], /
    ) -> JobHandler[None, ResultT]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[PayloadT, ...], ResultT], /
    ) -> JobHandler[PayloadT, ResultT]: ...


def job(name: str, **options: Unpack[OptionChanges]) -> JobDecorator:
    """Make a function the handler of the jobs called `name`.

    Its first parameter gets the payload, checked against its annotation; one annotated `JobContext`
    gets the context; every other one comes from the container, in a scope of the job's own. A
    function that is not async runs in a thread. What it returns is the job's result.

    Args:
        name: unique in the service, such as `report.generate`. Jobs in flight carry it: to rename
            a handler, keep the old name until they are done.
        options: defaults of its jobs.

    Raises:
        ConfigurationError: a parameter or the result has no annotation, or one that can't be
            written as JSON.
        InvalidJobError: an option that can't be had.
    """
    defaults = JobOptions().changed(options)

    def decorate(function: Callable[..., Any], /) -> JobHandler[Any, Any]:
        return _handler(name, function, defaults)

    return decorate


def _handler(name: str, function: Callable[..., Any], options: JobOptions) -> JobHandler[Any, Any]:
    where = f"the handler of {name!r}, {function.__module__}.{function.__qualname__},"
    hints = _hints(function, where)
    services: dict[str, Any] = {}
    payload_parameter = context_parameter = None
    for parameter in inspect.signature(function).parameters:
        if parameter not in hints:
            message = f"{where} must annotate {parameter!r}"
            raise ConfigurationError(message)
        if hints[parameter] is JobContext:
            context_parameter = parameter
        elif payload_parameter is None and not services and context_parameter is None:
            payload_parameter = parameter
        else:
            services[parameter] = hints[parameter]
    if "return" not in hints:
        message = f"{where} must annotate what it returns, None included"
        raise ConfigurationError(message)
    return JobHandler(
        name=name,
        function=function,
        options=options,
        payload=_adapter(hints[payload_parameter], where) if payload_parameter else None,
        result=_adapter(hints["return"], where),
        services=services,
        context_parameter=context_parameter,
        payload_parameter=payload_parameter,
        is_async=inspect.iscoroutinefunction(function),
    )


def _hints(function: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        message = (
            f"{where} has annotations that can't be read ({error}): import those names at run "
            "time, not under TYPE_CHECKING"
        )
        raise ConfigurationError(message) from error


def _adapter(annotation: Any, where: str) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation)
    except PydanticUserError as error:
        message = (
            f"{where} uses {annotation!r}, which can't be written as JSON: the payload comes "
            "first, then services; take a pydantic model, a dataclass or a plain type"
        )
        raise ConfigurationError(message) from error


@dataclass(frozen=True, slots=True)
class HandlerSource:
    """What a module contributes that makes handlers out of what other modules contribute."""

    make: Callable[[Registry], Iterable[JobHandler[Any, Any]]]


class HandlerRegistry:
    """The handlers of the service, by name."""

    def __init__(self, handlers: Iterable[JobHandler[Any, Any]]) -> None:
        """Collect them.

        Raises:
            ConfigurationError: two have the same name.
        """
        self._handlers: dict[str, JobHandler[Any, Any]] = {}
        for handler in handlers:
            if handler.name in self._handlers:
                message = f"two handlers are called {handler.name!r}: each needs a name of its own"
                raise ConfigurationError(message)
            self._handlers[handler.name] = handler

    def get(self, name: str) -> JobHandler[Any, Any] | None:
        """Return the handler of that name, or None."""
        return self._handlers.get(name)

    def queues(self) -> list[str]:
        """Return the queues a worker takes jobs from unless it is told others, sorted."""
        queues: set[str] = set()
        for handler in self._handlers.values():
            if not handler.on_request:
                queues |= {handler.options.queue, *handler.more_queues}
        return sorted(queues)
