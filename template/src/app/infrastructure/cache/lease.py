"""Keeps a lock while its value is computed."""

from __future__ import annotations

import asyncio
from typing import Self

from app.infrastructure.cache.link import AwayError
from app.infrastructure.cache.store import Place, Store


class Lease:
    """Renews a lock until the block ends. A timer, not a task: most values come at once."""

    def __init__(self, store: Store, place: Place, lock: str, seconds: float) -> None:
        """Renew `lock` for `seconds` each time."""
        self._store = store
        self._place = place
        self._lock = lock
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._plan()
        return self

    def __exit__(self, *_: object) -> None:
        """End; the lock stays until it is released or expires."""
        if self._timer:
            self._timer.cancel()
        if self._task:
            self._task.cancel()

    def _plan(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds / 3, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._renew(), name="cache lease")

    async def _renew(self) -> None:
        try:
            held = await self._store.renew(self._place, self._lock, self._seconds)
        except AwayError:
            held = True  # it may still be there when Redis is back
        if held:
            self._plan()
