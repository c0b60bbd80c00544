"""What failed because another transaction was in its way is done again at once."""

from __future__ import annotations

import random
import time

from app.core.errors import AppError

PATIENCE = 10.0
"""Seconds from the first such failure after which it is one like any other."""
FEWEST = 3
"""How often it is done again all the same: a try may wait for longer than that for its turn."""
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two tries; each pause is twice as long as the one before."""


def is_transient(error: Exception) -> bool:
    """Tell whether another transaction was in the way."""
    return isinstance(error, AppError) and error.transient


class Repeats:
    """Of one attempt at something that is a transaction of its own."""

    __slots__ = ("_count", "_since")

    def __init__(self) -> None:
        """It has not failed yet."""
        self._count = 0
        self._since = 0.0

    def pause_after(self, error: Exception) -> float | None:
        """Return the seconds to wait before it is done again; None: a failure like any other."""
        if not is_transient(error):
            return None
        now = time.monotonic()
        if not self._count:
            self._since = now
        elif self._count >= FEWEST and now - self._since > PATIENCE:
            return None
        pause = min(FIRST_PAUSE * 2.0**self._count, LONGEST_PAUSE)
        self._count += 1
        # Chance keeps those apart that were in each other's way.
        return pause * random.uniform(0.5, 1)  # noqa: S311 - nobody needs to guess it
