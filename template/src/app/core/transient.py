"""What failed because another transaction was in its way is done again at once."""

from __future__ import annotations

import random
import time

from app.core.errors import AppError

PATIENCE = 10.0
"""Seconds after which it is not done again: then it is a failure like any other."""
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two tries; each pause is twice as long as the one before."""


def is_transient(error: Exception) -> bool:
    """Tell whether another transaction was in the way."""
    return isinstance(error, AppError) and error.transient


def pause_before_repeat(error: Exception, since: float, repeats: int) -> float | None:
    """Return the seconds to wait before work is done again that was a transaction of its own.

    Args:
        error: what the last try has failed with.
        since: when the work began, by `time.monotonic()`.
        repeats: how often it was done again before.

    Returns:
        None: it is a failure like any other.
    """
    if not is_transient(error) or time.monotonic() - since > PATIENCE:
        return None
    # Chance keeps those apart that were in each other's way.
    pause = min(FIRST_PAUSE * 2.0**repeats, LONGEST_PAUSE)
    return pause * random.uniform(0.5, 1)  # noqa: S311 - nobody needs to guess it
