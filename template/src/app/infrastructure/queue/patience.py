"""Talk to a broker that may be away: try again, say so once, and know how long it was silent."""

from __future__ import annotations

import asyncio
import random
import time

from loguru import logger

FIRST = 0.05
LONGEST = 1.0
"""Seconds. Short: work has to go on soon after a broker is back."""


SILENT_SECONDS = 15.0
"""Not having heard of a broker for this long is not healthy."""


class Pulse:
    """When a consumer last heard of its broker."""

    def __init__(self) -> None:
        """Begin as alive."""
        self._heard = time.monotonic()

    def beat(self) -> None:
        """Take note of an answer."""
        self._heard = time.monotonic()

    @property
    def is_silent(self) -> bool:
        """Whether there was none for too long."""
        return time.monotonic() - self._heard >= SILENT_SECONDS


class Patience:
    """The pauses of one loop that talks to a broker."""

    def __init__(self, what: str) -> None:
        """Name what waits, for the log."""
        self._what = what
        self.failures = 0

    async def pause(self, error: Exception) -> None:
        """Wait before another try; the first failure in a row is worth a line."""
        if not self.failures:
            logger.warning("{}: trying again until the broker answers: {}", self._what, error)
        self.failures += 1
        longest = min(LONGEST, FIRST * 2.0 ** min(self.failures, 10))
        # Spread load, not secrets.
        await asyncio.sleep(longest * (0.5 + random.random() / 2))  # noqa: S311

    def answered(self) -> None:
        """Take note that it works again."""
        if self.failures:
            logger.info("{}: the broker answers again", self._what)
        self.failures = 0
