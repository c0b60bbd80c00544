"""Talk to a broker that may be away: try again, say so once, and know how long it was silent."""

from __future__ import annotations

import asyncio
import math
import random
import time

from loguru import logger

FIRST = 0.05
LONGEST = 1.0
"""Seconds. Short: work has to go on soon after a broker is back."""
BETWEEN_LINES = 1.0
"""Seconds between two lines about a broker that is away."""
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


class _Voice:
    """What all loops and threads of the process have in common."""

    last_line = -math.inf
    last_end = -math.inf
    """When it was told that a broker answers again."""


def complain(text: str, *values: object) -> bool:
    """Write a line about a broker that is away, unless there was one just now.

    Then it is told to who debugs: all loops of a process lose their broker in the same moment, and
    each running job is one of them when it ends.

    Returns:
        Whether everybody can read it.
    """
    now = time.monotonic()
    aloud = now >= _Voice.last_line + BETWEEN_LINES
    if aloud:
        _Voice.last_line = now
    logger.opt(depth=1).log("WARNING" if aloud else "DEBUG", text, *values)
    return aloud


def _is_told(since: float) -> bool:
    """Whether everybody could read of an outage that was noticed at that moment."""
    return _Voice.last_line > _Voice.last_end and _Voice.last_line > since - BETWEEN_LINES


class Patience:
    """The pauses of one loop that talks to a broker."""

    def __init__(self, what: str) -> None:
        """Name what waits, for the log."""
        self._what = what
        self._said = False
        self._since = 0.0
        self.failures = 0

    async def pause(self, error: Exception) -> None:
        """Wait before another try; an outage is worth a line, whoever writes it."""
        if not self.failures:
            self._since = time.monotonic()
        if not (self.failures and (self._said or _is_told(self._since))):
            text = "{}: trying again until the broker answers: {}"
            self._said = complain(text, self._what, error)
        self.failures += 1
        longest = min(LONGEST, FIRST * 2.0 ** min(self.failures, 10))
        # Spread load, not secrets.
        await asyncio.sleep(longest * (0.5 + random.random() / 2))  # noqa: S311

    def answered(self) -> None:
        """Take note that it works again."""
        if self.failures:
            level = "INFO" if self._said else "DEBUG"
            logger.log(level, "{}: the broker answers again", self._what)
        if self._said:
            _Voice.last_end = time.monotonic()
        self.failures, self._said = 0, False
