"""When a handler that failed is called again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from app.core.errors import ConfigurationError

MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Exponential backoff with jitter. An event whose handler failed each time is dead for it."""

    attempts: int = 3
    """Calls in all; 1: none is repeated."""
    first: timedelta = timedelta(milliseconds=100)
    """Pause before the second call; each further one is twice as long."""
    longest: timedelta = timedelta(seconds=10)
    jitter: float = 0.2
    """Part of the pause that is left to chance, 0 to 1."""

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ConfigurationError: something can't be had.
        """
        if self.attempts < 1 or self.first < timedelta() or not 0 <= self.jitter <= 1:
            message = "Retry needs attempts >= 1, first >= 0 and a jitter from 0 to 1"
            raise ConfigurationError(message)

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after so many failures."""
        pause: float = self.first.total_seconds() * 2.0 ** min(failures - 1, MOST_DOUBLINGS)
        pause = min(pause, self.longest.total_seconds())
        return pause * (1 - self.jitter * random.random())  # noqa: S311 - nobody needs to guess it
