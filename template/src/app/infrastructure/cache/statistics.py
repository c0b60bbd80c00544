"""What the cache has done, by method or first part of the key."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Final

MOST_NAMES: Final = 500
"""Counted apart; what comes after is counted together."""
OTHERS: Final = "(others)"


class Happened(StrEnum):
    """What can happen to a call."""

    HIT = "hits"
    STALE = "stale"
    """An old value was given, and a new one is computed."""
    MISS = "misses"
    COMPUTED = "computed"
    """Here; of the misses of one moment only one is computed."""
    SHARED = "shared"
    """Another one's value was waited for."""
    BYPASSED = "bypassed"
    """Computed without a look: the unit of work has written."""
    OUTDATED = "outdated"
    """Computed and not kept: invalidated meanwhile, or read by a unit of work that is older."""
    ALONE = "alone"
    """Computed without Redis."""
    ERROR = "errors"
    """A value could not be written as JSON, or not be read."""


class CacheStatistics:
    """Counts of this process, since it began; `take` returns what is new."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.counts: Counter[tuple[str, Happened]] = Counter()
        self._taken: Counter[tuple[str, Happened]] = Counter()
        self._names: set[str] = set()

    def count(self, name: str, what: Happened) -> None:
        """Count one."""
        if name not in self._names:
            if len(self._names) >= MOST_NAMES:
                name = OTHERS
            self._names.add(name)
        self.counts[name, what] += 1

    def total(self, what: Happened) -> int:
        """Return how often something happened."""
        return sum(number for (_, kind), number in self.counts.items() if kind is what)

    @property
    def hit_ratio(self) -> float | None:
        """Share of the calls that were answered from the cache; None before the first."""
        found = self.total(Happened.HIT) + self.total(Happened.STALE)
        asked = found + self.total(Happened.MISS)
        return found / asked if asked else None

    def take(self) -> dict[str, int]:
        """Return what was counted since the last time, as `name|what`."""
        new = self.counts - self._taken
        self._taken = self.counts.copy()
        return {f"{name}|{what}": number for (name, what), number in new.items()}

    def give_back(self, counts: dict[str, int]) -> None:
        """Take in again what could not be delivered."""
        for field, number in counts.items():
            name, _, what = field.rpartition("|")
            self._taken[name, Happened(what)] -= number
