"""A distributed lock with a fencing token.

A lock with an expiry can be lost while its holder still works (a pause, a slow network). Two things
follow. The holder is told: its task is cancelled. And what it writes must be refused by then:
each acquisition gets a larger token; keep the largest seen beside the data and refuse smaller ones
(M. Kleppmann, "How to do distributed locking", 2016). The lock lives on one primary: after a
failover that lost it, two may hold it for a moment, and the token tells them apart.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from loguru import logger
from redis.asyncio import Redis

from app.core.errors import ConflictError, ServiceUnavailableError
from app.core.tasks import end
from app.infrastructure.redis.errors import REDIS_ERRORS, RedisUnavailableError
from app.infrastructure.redis.keys import KeySpace

ACQUIRE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return redis.call('INCR', KEYS[2])
end
return 0
"""
EXTEND = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
"""
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""
POLL = (0.02, 0.2)
"""Seconds between two attempts while waiting: at random, so that waiters do not march in step."""


class LockNotAcquiredError(ConflictError):
    """Somebody else is working on this at the moment."""


class LockLostError(ServiceUnavailableError):
    """The lock was lost before the work was done."""


@dataclass
class HeldLock:
    """A lock this task holds."""

    name: str
    token: int
    """Larger than that of every earlier holder of this lock: the fencing token."""
    owner: str = field(repr=False)
    lost: bool = False


class Locks:
    """Locks by name, shared by all processes of the service."""

    def __init__(self, redis: Redis, keys: KeySpace) -> None:
        """Keep the locks on `redis`."""
        self._redis = redis
        self._keys = keys

    @asynccontextmanager
    async def lock(
        self, name: str, *, ttl: float = 10.0, wait: float = 0.0, renew: bool = True
    ) -> AsyncIterator[HeldLock]:
        """Hold a lock for the block.

        Args:
            name: what is locked.
            ttl: seconds after which the lock of a crashed holder is free.
            wait: seconds to wait for it; 0 tries once.
            renew: keep extending it. Without that, the block has `ttl` seconds.

        Raises:
            LockNotAcquiredError: another holder did not let go in time.
            LockLostError: it was lost while held; the block was cancelled where it stood.
            RedisUnavailableError: Redis did not answer.
        """
        held = await self._acquire(name, ttl, wait)
        task = asyncio.current_task()
        watcher = asyncio.create_task(self._watch(held, ttl, task, renew=renew))
        try:
            yield held
            if held.lost:  # and the block went on in spite of its cancellation
                if task is not None:
                    task.uncancel()
                raise LockLostError
        except asyncio.CancelledError:
            if held.lost and task is not None and task.uncancel() == 0:
                raise LockLostError from None
            raise
        finally:
            await end(watcher)
            await asyncio.gather(watcher, return_exceptions=True)
            if not held.lost:
                await self._release(held)

    async def _acquire(self, name: str, ttl: float, wait: float) -> HeldLock:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        owner = secrets.token_hex(16)
        while True:
            token = await self._run(ACQUIRE, name, owner, round(ttl * 1000))
            if token:
                return HeldLock(name, token, owner)
            remaining = deadline - loop.time()
            if remaining <= 0:
                message = f"The lock {name!r} is held by somebody else."
                raise LockNotAcquiredError(message)
            await asyncio.sleep(min(remaining, random.uniform(*POLL)))  # noqa: S311 - spreads load

    async def _watch(
        self, held: HeldLock, ttl: float, holder: asyncio.Task[Any] | None, *, renew: bool
    ) -> None:
        """Extend the lock; cancel the holder when it is lost."""
        loop = asyncio.get_running_loop()
        safe_until = loop.time() + ttl
        while True:
            await asyncio.sleep(ttl / 3 if renew else ttl)
            now = loop.time()
            try:
                extended = renew and await self._run(
                    EXTEND, held.name, held.owner, round(ttl * 1000)
                )
            except RedisUnavailableError:
                # It may still be ours: try again until it can have expired.
                if loop.time() < safe_until:
                    continue
                extended = 0
            if not extended:
                break
            safe_until = now + ttl
        held.lost = True
        logger.warning("Lost the lock {}", held.name)
        if holder is not None:
            holder.cancel()

    async def _release(self, held: HeldLock) -> None:
        try:
            await self._run(RELEASE, held.name, held.owner)
        except RedisUnavailableError:
            logger.warning("The lock {} was not released and will expire", held.name)

    async def _run(self, script: str, name: str, *arguments: str | int) -> int:
        # Both keys in one slot; the counter has no expiry, or tokens would start again.
        keys = (self._keys.tagged(name, "lock"), self._keys.tagged(name, "fence"))
        words = [str(argument) for argument in arguments]
        try:
            # redis-py types both its clients at once: value or awaitable.
            answer = self._redis.eval(script, len(keys), *keys, *words)
            return int(await cast("Awaitable[int]", answer))
        except REDIS_ERRORS as error:
            raise RedisUnavailableError from error
