"""Time as a dependency, so that a test can hold it still."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present moment, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; never goes back. For durations."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()


@dataclass
class ManualClock:
    """A clock that moves only when told to: for tests."""

    current: datetime = field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    elapsed: float = 0.0

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self.current

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self.elapsed

    def advance(self, step: timedelta) -> None:
        """Move both readings forward by `step`."""
        self.current += step
        self.elapsed += step.total_seconds()
