"""A time limit that costs nothing for what never waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from app.infrastructure.event_bus.errors import CancelledInsideError, HandlerTimeoutError


async def within(seconds: float, work: Coroutine[Any, Any, object], waits_for: Any) -> None:
    """Run the rest of a coroutine; cancel it when it takes too long.

    `asyncio.timeout` takes 6 µs, more than three handlers together. So a coroutine is begun without
    (`work.send(None)`), and only one that waits for something gets its limit.

    Args:
        seconds: how long it may take.
        work: begun already.
        waits_for: what `send` has returned.

    Raises:
        HandlerTimeoutError: it took too long, whatever error it made of that.
        CancelledInsideError: it waited for something that was cancelled.
        CancelledError: this task was cancelled meanwhile, whatever error `work` made of that.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this is a coroutine
    before = task.cancelling()
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await _Rest(work, waits_for)
    except (Exception, asyncio.CancelledError) as error:
        if task.cancelling() > before:
            cancelled: BaseException | None = error
            while cancelled is not None and not isinstance(cancelled, asyncio.CancelledError):
                cancelled = cancelled.__context__
            # With its message, by which anyio knows its own.
            raise asyncio.CancelledError(*(cancelled.args if cancelled else ())) from error
        if limit.expired():
            message = f"it took longer than {seconds:g} s"
            raise HandlerTimeoutError(message) from error
        if isinstance(error, asyncio.CancelledError):
            raise CancelledInsideError from error
        raise


class _Rest:
    """The rest of a coroutine that was begun by hand (PEP 380, "yield from")."""

    def __init__(self, work: Coroutine[Any, Any, object], step: Any) -> None:
        self._work = work
        self._step = step

    def __await__(self) -> Generator[Any, Any, None]:
        step = self._step
        while True:
            try:
                sent = yield step
            except GeneratorExit:
                self._work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the coroutine's
                follow: Callable[[Any], Any] = self._work.throw
                argument: Any = error
            else:
                follow = self._work.send
                argument = sent
            try:
                step = follow(argument)
            except StopIteration:
                return
