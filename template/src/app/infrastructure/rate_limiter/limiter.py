"""Count requests, refuse those that are too many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from fastapi import Request

from app.infrastructure.rate_limiter.errors import (
    LimiterDownError,
    QuotaExceededError,
    TemporaryReducedCapacityError,
)
from app.infrastructure.rate_limiter.keys import LimitKeys, digest
from app.infrastructure.rate_limiter.limits import Limit, OnLimiterDown
from app.infrastructure.rate_limiter.rates import Policy
from app.infrastructure.rate_limiter.settings import RateLimiterSettings
from app.infrastructure.rate_limiter.store import Hit, Store, Verdict


class RateLimiter:
    """Applies limits. Can be injected, to count something else than requests."""

    def __init__(self, store: Store, keys: LimitKeys, settings: RateLimiterSettings) -> None:
        """Count in the store."""
        self._store = store
        self._closed = settings.rate_limit_on_down is OnLimiterDown.CLOSED
        self.keys = keys
        self.enabled = settings.enable_rate_limiting
        self.default = settings.default_limit()
        """The limit of routes without one of their own."""

    async def check(self, limit: Limit, **caller: str) -> list[Verdict]:
        """Count one use of something: `await limiter.check(MAILS, user=str(user.id))`.

        Args:
            limit: must have a name; what it says in `by` is for requests.
            caller: whose uses are counted together, in words of your choice.

        Raises:
            ValueError: the limit has no name.
            QuotaExceededError: there were too many.
            TemporaryReducedCapacityError: Redis is away, and the limit is closed then.
        """
        if limit.name is None:
            message = "check() needs a limit with a name: limit(..., name='mails')"
            raise ValueError(message)
        if not self.enabled:
            return []
        words = [f"{word}={digest(value)}" for word, value in caller.items()]
        return await self.count([(limit, self.keys.named(limit, words or ["everybody"]))])

    async def count(self, limits: Sequence[tuple[Limit, Sequence[Hit]]]) -> list[Verdict]:
        """Count under several limits in one round trip, all or none.

        Returns:
            How they stand; nothing if Redis is away and all of them are open then.

        Raises:
            QuotaExceededError: one has no room. Its `verdicts` say how all of them stand.
            TemporaryReducedCapacityError: Redis is away, and one of them is closed then.
        """
        # Two limits with one counter would count each request twice.
        hits = list({hit.key: hit for _, own in limits for hit in own}.values())
        try:
            verdicts = await self._store.hit(hits)
        except LimiterDownError:
            self._refuse_closed(limit for limit, _ in limits)
            return []
        if not all(verdict.fits for verdict in verdicts):
            _refuse(verdicts)
        return verdicts

    def _refuse_closed(self, limits: Iterable[Limit]) -> None:
        closed = {OnLimiterDown.CLOSED: True, OnLimiterDown.OPEN: False, None: self._closed}
        policies = [p for limit in limits if closed[limit.on_down] for p in limit.policies]
        if policies:
            raise TemporaryReducedCapacityError(policies)


class RequestLimits:
    """The limits of one request: which are done with, and how they stand."""

    __slots__ = ("_limiter", "_settled", "policies", "route", "verdicts")

    def __init__(self, limiter: RateLimiter) -> None:
        """Begin with none."""
        self._limiter = limiter
        self._settled: list[Limit] = []
        self.route = ""
        """The operation, once it is known."""
        self.policies: list[Policy] = []
        """All that apply."""
        self.verdicts: list[Verdict] = []
        """How they stand; nothing while Redis is away."""

    async def at_door(self, limits: Sequence[Limit], request: Request) -> None:
        """Count those whose key the request itself holds, in one go.

        The others are counted when their dependencies have been resolved. Nobody calls the default
        then: by user, it counts those who are not known yet by their address.

        Raises:
            QuotaExceededError: one has no room.
            TemporaryReducedCapacityError: they can't be counted, and one is closed then.
        """
        keys, route = self._limiter.keys, self.route
        found = [
            (
                limit,
                keys.of(limit, request, route, {})
                if limit is self._limiter.default
                else keys.at_door(limit, request, route),
            )
            for limit in limits
        ]
        known = [(limit, hits) for limit, hits in found if hits is not None]
        if known:
            await self._count(known)

    async def settle(self, limit: Limit, request: Request, parts: Mapping[str, str]) -> None:
        """Count one if that was not done at the door.

        Raises:
            QuotaExceededError: it has no room.
            TemporaryReducedCapacityError: it can't be counted, and is closed then.
        """
        if limit in self._settled or not self._limiter.enabled:
            return
        hits = self._limiter.keys.of(limit, request, self.route, parts)
        await self._count([(limit, hits)])

    async def _count(self, limits: Sequence[tuple[Limit, Sequence[Hit]]]) -> None:
        for limit, _ in limits:
            self._settled.append(limit)
            self.policies += limit.policies
        try:
            self.verdicts += await self._limiter.count(limits)
        except QuotaExceededError as error:
            self.verdicts += error.verdicts
            raise


def _refuse(verdicts: Sequence[Verdict]) -> NoReturn:
    # Not before the window the client is told of ends (draft-ietf-httpapi-ratelimit-headers §6).
    longest = max(max(verdict.wait, verdict.ends) for verdict in verdicts if not verdict.fits)
    raise QuotaExceededError(verdicts, max(1, -(-longest // 1000)))
