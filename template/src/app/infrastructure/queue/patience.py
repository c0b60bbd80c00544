"""Wait before trying again, longer each time, and say so once."""

from __future__ import annotations

import asyncio
import random

from loguru import logger

FIRST = 0.05
LONGEST = 1.0
"""Seconds. Short: work has to go on soon after a broker is back."""


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
