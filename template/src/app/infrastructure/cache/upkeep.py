"""What a process does beside answering: it delivers its counts and invalidations that are owed."""

from __future__ import annotations

import asyncio
import contextlib

from loguru import logger

from app.core.tasks import end
from app.infrastructure.cache.link import AwayError
from app.infrastructure.cache.settings import CacheSettings
from app.infrastructure.cache.statistics import CacheStatistics
from app.infrastructure.cache.store import Store

DELIVER_SECONDS = 10.0
KEEP_COUNTS = 7 * 86_400.0
"""Seconds after the last count."""


class Upkeep:
    """A task for that."""

    def __init__(self, store: Store, statistics: CacheStatistics, settings: CacheSettings) -> None:
        """Deliver to `store`."""
        self._store = store
        self._statistics = statistics
        self._pause = settings.cache_retry
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="cache upkeep")

    async def stop(self) -> None:
        """End, after a last delivery."""
        if self._task:
            await end(self._task)
        if self._store.owes:
            with contextlib.suppress(AwayError):
                await self._store.pay(at_last=True)
        if owed := self._store.owes:
            logger.warning(
                "Invalidations lost because Redis is away: {}. What the cache has lives until its "
                "ttl, or until `app cache clear --all`",
                owed,
            )
        await self.deliver()

    async def deliver(self) -> None:
        """Add what was counted here to what all have counted."""
        counts = self._statistics.take()
        if not counts:
            return
        try:
            await self._store.count(counts, KEEP_COUNTS)
        except AwayError:
            self._statistics.give_back(counts)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        delivered = loop.time()
        while True:
            await asyncio.sleep(self._pause)
            if self._store.owes:
                with contextlib.suppress(AwayError):
                    await self._store.pay()
            if loop.time() - delivered >= DELIVER_SECONDS:
                delivered = loop.time()
                await self.deliver()
