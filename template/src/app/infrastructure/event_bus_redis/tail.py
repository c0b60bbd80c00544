"""Hear every event, in every process."""

from __future__ import annotations

import asyncio

from loguru import logger

from app.core.tasks import end
from app.infrastructure.event_bus.ports import Hear
from app.infrastructure.event_bus_redis.streams import Link, entries, received

LONGEST_PAUSE = 5.0
"""Seconds between two tries to reach the server."""
BATCH = 500


class Tail:
    """Reads the end of the stream."""

    def __init__(self, link: Link) -> None:
        """Read over `link`."""
        self._link = link
        self._last = "0-0"
        self._gap = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def position(self) -> str | None:
        """The id of the last event that was heard; None before, and when some were missed."""
        return None if self._task is None or self._gap else self._last

    async def start(self, hear: Hear) -> None:
        """Hear what is published from now on."""
        self._last = await self._link.last_id()
        self._task = asyncio.create_task(self._run(hear), name="events: hear")

    async def stop(self) -> None:
        """Hear no more."""
        if self._task:
            self._stopping = True
            await end(self._task)
            self._task = None

    async def _run(self, hear: Hear) -> None:
        pause = 0.0
        while not self._stopping:
            try:
                if pause:
                    self._gap = self._gap or not await self._is_there()
                    pause = 0.0
                answer = await self._link.blocking.xread(
                    {self._link.streams.events: self._last},
                    count=BATCH,
                    block=round(self._link.block * 1000),
                )
            except Exception as error:  # noqa: BLE001 - redis-py's own faults too: it goes on
                if not pause:
                    logger.warning("Events can't be heard, trying on: {}", type(error).__name__)
                pause = min(max(pause * 2, 0.1), LONGEST_PAUSE)
                await asyncio.sleep(pause)
                continue
            for entry in entries(answer):
                self._last = entry[0]
                # What can't be read is told by the consumers, which put it away.
                if item := received(entry, after_gap=self._gap):
                    self._gap = False
                    hear(item)

    async def _is_there(self) -> bool:
        """Tell, after an outage, whether nothing is missing after what was heard last."""
        complete = await self._link.is_kept(self._last)
        if not complete:
            logger.warning("Events were missed while Redis was away")
            self._last = await self._link.last_id()
        return complete
