"""Wait until there may be a job to take, with one blocked connection per consumer.

BullMQ keeps a marker in each queue: whoever adds a job sets it, whoever waits pops it. Its score is
0, or the moment at which the next delayed job is due.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis

from app.infrastructure.queue.bullmq.store import Nothing
from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.redis import REDIS_ERRORS, Multiplexer
from app.infrastructure.redis.client import close_client

LONGEST_WAIT = 2.0
"""Seconds one blocked command lasts: a marker may be lost with a worker that popped it, and a
connection may be dead without anybody knowing. Also while a delayed job is hours away."""
SHORTEST_WAIT = 0.002
"""Seconds. Redis before 7.0.8 takes less for ever (BZPOPMIN rounded 1 ms down to 0)."""


class Watch:
    """Blocks on a queue's marker."""

    def __init__(self, redis: Redis, marker: str, timeout: float, fast: Multiplexer | None) -> None:
        """Prepare.

        Args:
            redis: a client whose connections nobody else needs.
            marker: its key.
            timeout: seconds Redis may be late to answer.
            fast: used instead where there is one; nobody else uses it.
        """
        self._redis: Any = redis  # its types know no command by name
        self._fast = fast
        self._marker = marker
        self._timeout = timeout

    async def wait(self, after: Nothing) -> None:
        """Return when there may be a job to take.

        Raises:
            QueueUnavailableError: Redis does not answer.
        """
        if after.limited:
            await asyncio.sleep(after.limited)
            return
        due = after.due
        while due is None or time.time() < due:
            popped = await self._pop(due)
            if popped is None:
                return  # nothing, or a marker that was lost: only a look into the queue tells
            if popped <= time.time() * 1000:
                return
            due = popped / 1000

    async def close(self) -> None:
        """Close the connection."""
        if self._fast:
            await self._fast.close()
        with suppress(*REDIS_ERRORS):
            await close_client(self._redis)

    async def _pop(self, due: float | None) -> float | None:
        """Pop the marker; return its score, or None when there was none in time."""
        block = LONGEST_WAIT
        if due is not None:
            block = min(max(due - time.time(), SHORTEST_WAIT), LONGEST_WAIT)
        try:
            async with asyncio.timeout(block + self._timeout):
                if self._fast:
                    found: Any = await self._fast.wait_for("BZPOPMIN", self._marker, block)
                else:
                    found = await self._redis.execute_command("BZPOPMIN", self._marker, block)
        except (*REDIS_ERRORS, TimeoutError) as error:
            raise _unavailable(error) from error
        return float(found[2]) if found else None


def _unavailable(error: Exception) -> QueueUnavailableError:
    return QueueUnavailableError(
        f"Redis does not do its work: {str(error) or type(error).__name__}"
    )
