"""`@compute`, and its types: what the caller gets is what the method says, to be awaited."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from app.core.errors import ConfigurationError
from app.infrastructure.compute import runtime
from app.infrastructure.queue import Backoff, JobHandle, JobOptions

QUEUE = "compute"
"""The queue of the pool. Other workers take its jobs only when they are told to."""
COMPUTED = "__compute__"
BACKOFF = Backoff(first=timedelta(seconds=0.2), longest=timedelta(seconds=30))

SelfT = TypeVar("SelfT")
P = ParamSpec("P")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """What `@compute` left on a method."""

    function: Callable[..., Any]
    """The method as it was written."""
    options: JobOptions
    wait: bool
    name: str

    @property
    def is_async(self) -> bool:
        """Whether it was written with `async def`."""
        return inspect.iscoroutinefunction(self.function)


class Waiting(Protocol):
    """The method's own types; one that was not async is awaited too."""

    @overload
    def __call__(
        self, method: Callable[Concatenate[SelfT, P], Coroutine[Any, Any, ResultT]], /
    ) -> Callable[Concatenate[SelfT, P], Coroutine[Any, Any, ResultT]]: ...

    @overload
    def __call__(
        self, method: Callable[Concatenate[SelfT, P], ResultT], /
    ) -> Callable[Concatenate[SelfT, P], Coroutine[Any, Any, ResultT]]: ...


class Leaving(Protocol):
    """The method's parameters; awaiting gives a handle of its result."""

    @overload
    def __call__(
        self, method: Callable[Concatenate[SelfT, P], Coroutine[Any, Any, ResultT]], /
    ) -> Callable[Concatenate[SelfT, P], Coroutine[Any, Any, JobHandle[ResultT]]]: ...

    @overload
    def __call__(
        self, method: Callable[Concatenate[SelfT, P], ResultT], /
    ) -> Callable[Concatenate[SelfT, P], Coroutine[Any, Any, JobHandle[ResultT]]]: ...


@overload
def compute(
    *,
    wait: Literal[True] = True,
    priority: int = 0,
    attempts: int = 2,
    timeout: timedelta | None = timedelta(minutes=5),
    backoff: Backoff = BACKOFF,
    queue: str = QUEUE,
    name: str = "",
) -> Waiting: ...


@overload
def compute(
    *,
    wait: Literal[False],
    priority: int = 0,
    attempts: int = 2,
    timeout: timedelta | None = timedelta(minutes=5),
    backoff: Backoff = BACKOFF,
    queue: str = QUEUE,
    name: str = "",
) -> Leaving: ...


def compute(  # noqa: PLR0913 - all by name
    *,
    wait: bool = True,
    priority: int = 0,
    attempts: int = 2,
    timeout: timedelta | None = timedelta(minutes=5),
    backoff: Backoff = BACKOFF,
    queue: str = QUEUE,
    name: str = "",
) -> Any:
    """Have a method of a provided class run in a worker process.

        class Reports:
            @compute(priority=1, timeout=timedelta(seconds=30))
            def totals(self, year: int) -> list[Decimal]: ...

        totals = await reports.totals(2026)

    The worker gets an object of its own from the container, in a scope of the job's own. Arguments
    and result are JSON on the way.

    Args:
        wait: True: awaiting the call gives the result. False: a handle; nobody waits.
        priority: 0 goes first, 3 last.
        attempts: how often it is started at most, if its process dies or it fails. An `AppError`
            with a status below 500 is an answer, and never repeated.
        timeout: how long one attempt may take; None: for ever.
        backoff: the pause before another attempt.
        queue: where the jobs wait. The pool takes those of `compute` only; for another one start
            workers, `app worker --queues NAME`, on the machines that are made for it.
        name: stands on the wire; default: `Class.method`. Keep it when you rename either.

    Raises:
        ConfigurationError: it is on something that is no method.
        InvalidJobError: an option that can't be had.
    """
    options = JobOptions(
        priority=priority, attempts=attempts, timeout=timeout, backoff=backoff, queue=queue
    )

    def decorate(function: Callable[..., Any], /) -> Callable[..., Any]:
        _check(function)
        declared = Declared(function, options, wait, name)

        @functools.wraps(function)
        async def call(self: object, /, *args: Any, **kwargs: Any) -> Any:
            return await runtime.call(declared, self, args, kwargs)

        setattr(call, COMPUTED, declared)
        if not wait:  # who looks at its annotations, as `run_later` does, sees what it returns
            call.__annotations__ = {**function.__annotations__, "return": JobHandle}
        return call

    return decorate


def declared_by(function: object) -> Declared | None:
    """Return what `@compute` left on a function, if it was there."""
    return cast("Declared | None", getattr(function, COMPUTED, None))


def _check(function: object) -> None:
    title = getattr(function, "__qualname__", repr(function))
    if not inspect.isfunction(function):
        message = f"@compute is for methods, and {title} is none: put it below other decorators"
        raise ConfigurationError(message)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        message = f"@compute can't be on {title}: it is a generator; return a list instead"
        raise ConfigurationError(message)
