"""The relay: publishes what a crash left behind, until it is stopped."""

from __future__ import annotations

import asyncio
import time

from loguru import logger

from app.core.tasks import end
from app.infrastructure.outbox.outbox import Outbox
from app.infrastructure.outbox.settings import OutboxSettings

PURGE_SECONDS = 600.0
"""Between two looks for rows that were kept long enough."""


class Relay:
    """A task that looks after the outbox. Several may run, in as many processes as there are."""

    def __init__(self, outbox: Outbox, settings: OutboxSettings) -> None:
        """Look after `outbox`."""
        self._outbox = outbox
        self._pause = settings.outbox_poll
        self._task: asyncio.Task[None] | None = None
        self._purged = float("-inf")

    def start(self) -> None:
        """Begin, unless it has."""
        if self._task:
            return
        self._task = asyncio.create_task(self.run(), name="outbox relay")

    async def stop(self) -> None:
        """End. What is being published is found again by the next relay."""
        if self._task:
            await end(self._task)

    async def run(self) -> None:
        """Publish what is due, then wait; for ever."""
        said = ""
        while True:
            try:
                if await self._outbox.relay():
                    continue
                if time.monotonic() - self._purged > PURGE_SECONDS:
                    self._purged = time.monotonic()
                    await self._outbox.purge()
                said = ""
            except Exception as error:  # noqa: BLE001 - the next look may work: a database comes back
                problem = f"{type(error).__name__}: {error}".splitlines()[0]
                if problem != said:  # once, not every second of an outage
                    logger.error("The relay of the outbox fails, and goes on: {}", problem)
                said = problem
            await asyncio.sleep(self._pause)
