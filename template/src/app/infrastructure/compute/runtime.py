"""From a method to the service it is called in.

An object knows nothing of the service that made it, and a request runs in no context the start of
the service could have prepared. What both have is the event loop: a started service is found by it.
Of several in one loop, as a test may have, it is the one started last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from app.infrastructure.compute.errors import NotStartedError
from app.infrastructure.compute.settings import ComputeSettings

if TYPE_CHECKING:
    from app.infrastructure.compute.decorator import Declared

_inside: ContextVar[bool] = ContextVar("inside a computation", default=False)


class Runtime(Protocol):
    """What a started service does with calls."""

    async def invoke(
        self, declared: Declared, target: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Make a call, wherever that is to be."""
        ...


_started: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Runtime]] = WeakKeyDictionary()


def enter(runtime: Runtime) -> None:
    """Let calls in this event loop find a service."""
    _started.setdefault(asyncio.get_running_loop(), []).append(runtime)


def leave(runtime: Runtime) -> None:
    """Let them find it no more."""
    found = _started.get(asyncio.get_running_loop(), [])
    if runtime in found:
        found.remove(runtime)


@contextmanager
def inside() -> Iterator[None]:
    """Make the calls of the block directly: a worker that waited for itself would wait for ever."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


async def call(
    declared: Declared, target: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Call a method with `@compute`.

    Raises:
        NotStartedError: no service runs in this event loop.
    """
    if declared.wait and _inside.get():
        return await run(declared, target, args, kwargs)
    found = _started.get(asyncio.get_running_loop())
    if found:
        return await found[-1].invoke(declared, target, args, kwargs)
    if declared.wait and ComputeSettings().compute_inline:
        return await run(declared, target, args, kwargs)
    message = (
        f"{declared.function.__qualname__} has @compute, and no service runs here: call it in a "
        "request, a job or between start and stop of the modules; or set COMPUTE_INLINE=1 to run "
        "it in place"
    )
    raise NotStartedError(message)


async def run(
    declared: Declared, target: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Run the method itself; one that is not async in a thread, so that the loop goes on."""
    if declared.is_async:
        return await declared.function(target, *args, **kwargs)
    return await asyncio.to_thread(declared.function, target, *args, **kwargs)
