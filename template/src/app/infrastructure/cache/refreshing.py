"""Computes again what is old, one task for each entry, while the old value is used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

from loguru import logger

from app.infrastructure.cache.filling import OutdatedError
from app.infrastructure.cache.link import AwayError
from app.infrastructure.cache.wanted import Outcome
from app.infrastructure.logger import LogContext, bind_context, current_context

Renew = Callable[[], Awaitable[Outcome]]


class Refresher:
    """The refreshes of a process."""

    def __init__(self) -> None:
        """Begin with none."""
        self._running: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def later(self, entry: str, renew: Renew) -> None:
        """Refresh an entry in the background, unless that is being done."""
        if entry in self._running:
            return
        self._running.add(entry)
        # Nothing of the caller's goes along but the trace: its unit of work ends before this does.
        task = asyncio.create_task(
            self._refresh(entry, renew, current_context()), name="cache refresh", context=Context()
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def now(self, entry: str, renew: Renew) -> Outcome | None:
        """Refresh it for the caller; None: that is being done.

        Raises:
            OutdatedError, AwayError: as `Filler.fill`.
            Exception: what computing raises.
        """
        if entry in self._running:
            return None
        self._running.add(entry)
        try:
            return await renew()
        finally:
            self._running.discard(entry)

    async def close(self) -> None:
        """End them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refresh(self, entry: str, renew: Renew, context: LogContext) -> None:
        with bind_context(trace_id=context.trace_id, span_id=context.span_id):
            try:
                await renew()
            except (OutdatedError, AwayError):
                pass  # the next caller sees to it
            except Exception as error:  # noqa: BLE001 - nobody waits; the old value is used on
                logger.opt(exception=error).warning("An entry of the cache can't be refreshed")
            finally:
                self._running.discard(entry)
