"""What a drill found: what became of the jobs, how everybody bore it, and what was promised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

LONGEST_FAILURE = 5.0
"""Seconds within which a publish that fails does so."""
LONGEST_RETURN = 5.0
"""Seconds within which the next job begins, once a server is back."""
MOST_CPU = 0.05
"""Share of one CPU a worker may use while a server is away."""
MOST_LINES = 1.0
"""Lines a second it may write meanwhile."""
PATIENCE = 60.0
"""Seconds until a worker that does nothing, or a job that is not done, is given up."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a worker has used and said since it was started."""

    cpu: float
    """Seconds; 0 where there is no /proc."""
    lines: int
    """Of its log."""


@dataclass(slots=True)
class Balance:
    """The figures of one drill; times in seconds."""

    engine: str
    drill: str
    outages: int = 0
    acknowledged: int = 0
    """Jobs whose publisher was told that they are durable."""
    done: int = 0
    """Those of them that had their effect."""
    lost: int = 0
    """Those of them that had not."""
    twice: int = 0
    """Effects beyond the first of a job."""
    drained: float = 0.0
    """From the last publish to the last effect."""
    failed: int = 0
    """Publishes that raised."""
    longest_failure: float = 0.0
    """Until one did."""
    longest_return: float = 0.0
    """From the moment a server was back to the next start of a job."""
    longest_idle: float = 0.0
    """The same until every worker had begun one."""
    cpu: float = 0.0
    """Share of one CPU that the busiest worker used, over all outages."""
    lines: float = 0.0
    """Lines a second of the worker that wrote most in one outage; one that has begun counts."""
    ended: int = 0
    """Workers that ended by themselves."""
    early: int = 0
    """Jobs with a delay that were begun before their moment."""
    latest: float = 0.0
    """After its moment, the last of them was begun."""
    missed: list[str] = field(default_factory=list)
    """The promises that were not kept."""

    def judge(self) -> None:
        """Fill in `missed`."""
        kept = {
            f"{self.lost} jobs were lost": self.lost == 0,
            f"{self.ended} workers ended": self.ended == 0,
            f"{self.early} jobs were early": self.early == 0,
            f"{self.twice} jobs ran twice": self.drill != "due" or self.twice == 0,
            f"publishing failed late: {self.longest_failure:.1f} s": (
                self.longest_failure <= LONGEST_FAILURE
            ),
            f"the next job began late: {self.longest_return:.1f} s": (
                self.longest_return <= LONGEST_RETURN
            ),
            "a worker did nothing any more": self.longest_idle < PATIENCE,
            f"CPU in outages: {self.cpu:.1%}": self.cpu <= MOST_CPU,
            f"lines a second in outages: {self.lines:.1f}": self.lines <= MOST_LINES,
        }
        self.missed = [broken for broken, is_kept in kept.items() if not is_kept]


class Meter:
    """Adds up what the workers use in outages."""

    def __init__(self, balance: Balance) -> None:
        self._balance = balance
        self._cpu: list[float] = []
        self._seconds = 0.0

    def add(self, before: Sequence[Usage], after: Sequence[Usage], seconds: float) -> float:
        """Count an outage; return the lines a second of the worker that wrote most in it."""
        pairs = list(zip(before, after, strict=True))
        used = self._cpu or [0.0] * len(pairs)
        self._cpu = [sum_ + b.cpu - a.cpu for sum_, (a, b) in zip(used, pairs, strict=True)]
        self._seconds += seconds
        lines = max(b.lines - a.lines for a, b in pairs) / math.ceil(seconds)
        balance = self._balance
        balance.outages += 1
        balance.cpu = max(self._cpu) / self._seconds
        balance.lines = max(balance.lines, lines)
        return lines
