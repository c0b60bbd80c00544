"""What counts: the port, and Redis behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import NoScriptError

from app.infrastructure.rate_limiter.errors import LimiterDownError
from app.infrastructure.rate_limiter.outage import LONGEST_ASK, Outage
from app.infrastructure.rate_limiter.rates import Policy, Rate
from app.infrastructure.rate_limiter.script import DIGEST, NUMBERS, SCRIPT
from app.infrastructure.rate_limiter.settings import RateLimiterSettings
from app.infrastructure.redis import REDIS_ERRORS, KeySpace, RedisConnector
from app.infrastructure.redis.address import Mode
from app.infrastructure.redis.client import close_client
from app.infrastructure.redis.settings import RedisSettings

Word = str | bytes | int | float
PROBE = Policy("probe", Rate(1_000_000_000, 1))
"""Counted to find out whether Redis counts again: one that is full or read-only answers a PING. It
never refuses, which would write nothing."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One counter that a request moves."""

    policy: Policy
    key: str
    cost: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a counter stands after a request."""

    policy: Policy
    fits: bool
    """Whether this limit has room; the request is counted if all of its limits have."""
    left: int
    """Requests that would still be taken."""
    ends: int
    """Milliseconds until more are left."""
    wait: int = 0
    """Milliseconds until this request would fit; 0 if it does."""


class Store(Protocol):
    """Keeps the counters."""

    @property
    def down(self) -> bool:
        """Whether nothing is counted at the moment."""
        ...

    async def hit(self, hits: Sequence[Hit]) -> list[Verdict]:
        """Count a request under all of its keys, or under none.

        Raises:
            LimiterDownError: it is not known whether it was counted.
        """
        ...


class RedisStore:
    """One script and one round trip, whose clock is that of Redis.

    On a cluster the keys of one caller lie in one slot, and so do all limits of a usual request.
    Where they don't, each slot runs the script, all at once: a request that one of them refuses is
    counted by the others.
    """

    def __init__(
        self,
        connector: RedisConnector,
        keys: KeySpace,
        settings: RateLimiterSettings,
        redis: RedisSettings,
    ) -> None:
        """Prepare; nothing is connected yet."""
        self._timeout = settings.rate_limit_timeout
        longest = max(LONGEST_ASK, self._timeout)
        self._fast = connector.multiplex(self._timeout, connect_timeout=longest)
        self._redis: Redis | None = None if self._fast else connector.connect()
        self._clustered = redis.address.mode is Mode.CLUSTER
        self._probe = (Hit(PROBE, keys("limit", "probe")),)
        self._outage = Outage(self._ask, self._timeout)

    @property
    def down(self) -> bool:
        """Whether nothing is counted at the moment."""
        return self._outage.is_on

    async def start(self) -> None:
        """Connect, so that no request has to wait for it.

        Raises:
            RedisError: it can't count.
        """
        await self._ask()

    async def stop(self) -> None:
        """Close the connections."""
        await self._outage.stop()
        if self._fast:
            await self._fast.close()
        if self._redis:
            with suppress(*REDIS_ERRORS):
                await close_client(self._redis)

    async def hit(self, hits: Sequence[Hit]) -> list[Verdict]:
        """See `Store`. Takes `RATE_LIMIT_TIMEOUT` at most, and nothing later in an outage."""
        outage = self._outage
        if not outage.is_on and self._fast and not self._fast.connected:
            outage.begin(ConnectionError("the connection was lost"))
        if outage.is_on:
            await outage.over_soon()
        try:
            if self._fast:
                return await self._count(hits)
            async with asyncio.timeout(self._timeout):
                return await self._count(hits)
        except (*REDIS_ERRORS, TimeoutError) as error:
            outage.begin(error)
            raise LimiterDownError from error

    async def _ask(self) -> None:
        await self._count(self._probe)

    async def _count(self, hits: Sequence[Hit]) -> list[Verdict]:
        if not self._clustered:
            return _verdicts(hits, await self._run(hits))
        slots: dict[int, list[Hit]] = {}
        for hit in hits:
            slots.setdefault(key_slot(hit.key.encode()), []).append(hit)
        if len(slots) == 1:
            return _verdicts(hits, await self._run(hits))
        groups = list(slots.values())
        answers = await asyncio.gather(*map(self._run, groups))
        found = {
            hit.key: verdict
            for group, answer in zip(groups, answers, strict=True)
            for hit, verdict in zip(group, _verdicts(group, answer), strict=True)
        }
        return [found[hit.key] for hit in hits]

    async def _run(self, hits: Sequence[Hit]) -> list[int]:
        """Run the script; send all of it to a server that does not know it, as after a restart."""
        words: list[Word] = [len(hits), *(hit.key for hit in hits)]
        for hit in hits:
            words += hit.policy.words
            words.append(hit.cost)
        try:
            answer = await self._execute("EVALSHA", DIGEST, *words)
        except NoScriptError:
            answer = await self._execute("EVAL", SCRIPT, *words)
        numbers: list[int] = answer
        return numbers

    async def _execute(self, *words: Word) -> Any:
        if self._fast:
            return await self._fast.execute(*words)
        client: Any = self._redis  # its types know no command by name
        return await client.execute_command(*words)


def _verdicts(hits: Iterable[Hit], numbers: Sequence[int]) -> list[Verdict]:
    return [
        Verdict(hit.policy, bool(numbers[at]), *numbers[at + 1 : at + NUMBERS])
        for at, hit in zip(range(0, len(numbers), NUMBERS), hits, strict=True)
    ]
