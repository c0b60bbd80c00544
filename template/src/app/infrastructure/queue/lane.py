"""Who may run beside whom in one worker process.

A job whose worker vanished may have killed it. Run again beside others it would take them along
again, and each of them would look as guilty. So suspects run alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Lane:
    """Any number of ordinary jobs at once, or one suspect. A waiting suspect goes first."""

    def __init__(self) -> None:
        """Start empty."""
        self._changed = asyncio.Condition()
        self._running = 0
        self._alone = False
        self._suspects = 0

    def try_share(self) -> bool:
        """Enter beside others if that is possible at once: the usual case, without waiting."""
        if self._suspects:
            return False
        self._running += 1
        return True

    async def leave(self) -> None:
        """Leave after `try_share` or `share`."""
        self._running -= 1
        if self._suspects and not self._running:
            async with self._changed:
                self._changed.notify_all()

    async def share(self) -> None:
        """Enter beside others, once no suspect waits or runs."""
        while not self.try_share():
            async with self._changed:
                await self._changed.wait_for(lambda: not self._suspects)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Run alone, once all others of this process are done."""
        self._suspects += 1
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._running and not self._alone)
                self._alone = True
            try:
                yield
            finally:
                self._alone = False
        finally:
            self._suspects -= 1
            async with self._changed:
                self._changed.notify_all()
