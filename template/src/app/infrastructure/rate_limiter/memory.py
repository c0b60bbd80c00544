"""Counters in this process: for tests of code that has limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from app.infrastructure.rate_limiter.rates import MICROSECONDS, Algorithm
from app.infrastructure.rate_limiter.store import Hit, Verdict


class NoLimits:
    """Lets everything pass, and counts nothing."""

    down = False

    async def hit(self, hits: Sequence[Hit]) -> list[Verdict]:
        """See `Store`."""
        return [Verdict(hit.policy, fits=True, left=hit.policy.capacity, ends=0) for hit in hits]


class MemoryStore:
    """Counts as the script in Redis does, by this process's clock."""

    down = False

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing counted.

        Args:
            clock: returns seconds.
        """
        self._clock = clock
        self._windows: dict[str, tuple[int, int]] = {}
        self._logs: dict[str, list[int]] = {}
        self._buckets: dict[str, int] = {}

    async def hit(self, hits: Sequence[Hit]) -> list[Verdict]:
        """See `Store`."""
        now = int(self._clock() * MICROSECONDS)
        verdicts = [self._look(hit, now, 0) for hit in hits]
        if not all(verdict.fits for verdict in verdicts):
            return verdicts
        return [self._look(hit, now, hit.cost) for hit in hits]

    def reset(self) -> None:
        """Forget everything."""
        self._windows.clear()
        self._logs.clear()
        self._buckets.clear()

    def _look(self, hit: Hit, now: int, take: int) -> Verdict:
        """Return how a counter stands, after `take` was counted."""
        looks = {
            Algorithm.FIXED_WINDOW: self._fixed,
            Algorithm.SLIDING_WINDOW: self._sliding,
            Algorithm.TOKEN_BUCKET: self._bucket,
        }
        left, ends, wait = looks[hit.policy.algorithm](hit, now, take)
        fits = take > 0 or left >= hit.cost
        return Verdict(hit.policy, fits, left, _milliseconds(ends), 0 if fits else _waits(wait))

    def _fixed(self, hit: Hit, now: int, take: int) -> tuple[int, int, int]:
        used, until = self._windows.get(hit.key, (0, 0))
        if until <= now:
            used, until = 0, now + hit.policy.span
        if take:
            used += take
            self._windows[hit.key] = used, until
        return hit.policy.capacity - used, until - now, until - now

    def _sliding(self, hit: Hit, now: int, take: int) -> tuple[int, int, int]:
        policy = hit.policy
        log = [at for at in self._logs.get(hit.key, ()) if at > now - policy.span]
        self._logs[hit.key] = log
        ends = log[0] + policy.span - now if log else policy.span
        leaves = len(log) + hit.cost - policy.capacity - 1
        wait = log[leaves] + policy.span - now if not take and leaves >= 0 else 0
        log += [now] * take
        return policy.capacity - len(log), ends, wait

    def _bucket(self, hit: Hit, now: int, take: int) -> tuple[int, int, int]:
        policy = hit.policy
        full = max(now, self._buckets.get(hit.key, now))
        ends = (full - now) % policy.span or policy.span
        wait = full + hit.cost * policy.span - policy.capacity * policy.span - now
        if take:
            full += take * policy.span
            self._buckets[hit.key] = full
        return policy.capacity - -(-(full - now) // policy.span), ends, wait


def _milliseconds(span: int) -> int:
    return -(-span // 1000)


def _waits(span: int) -> int:
    return max(1, _milliseconds(span))
