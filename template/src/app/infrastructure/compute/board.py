"""What the pools of all machines say of themselves, for `/health` and `app compute status`."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from loguru import logger
from pydantic import BaseModel, ValidationError
from redis.asyncio import Redis

from app.core.clock import Clock
from app.infrastructure.redis import REDIS_ERRORS, KeySpace

if TYPE_CHECKING:
    from collections.abc import Iterable

STALE = timedelta(seconds=15)
"""A pool that was silent for longer is gone."""


class PoolReport(BaseModel):
    """One pool."""

    host: str
    pid: int
    """Of the API process that has it."""
    at: datetime
    starting: int = 0
    idle: int = 0
    running: int = 0
    leaving: int = 0
    restarts: int = 0
    """Processes that died and were replaced, since the pool began."""
    smallest: int = 0
    largest: int = 0
    """Processes there may be."""
    failing: bool = False
    """Whether its processes die one after the other."""

    @property
    def name(self) -> str:
        """Which it is."""
        return f"{self.host}:{self.pid}"


class Board:
    """A hash in Redis, a field for each pool."""

    def __init__(self, redis: Redis, keys: KeySpace, clock: Clock) -> None:
        """Write to and read from Redis."""
        self._redis = redis
        self._key = keys("compute", "pools")
        self._clock = clock
        self._host = socket.gethostname()

    def blank(self) -> PoolReport:
        """Return a report of this process, of now, with nothing in it."""
        return PoolReport(host=self._host, pid=os.getpid(), at=self._clock.now())

    async def post(self, report: PoolReport) -> None:
        """Keep a report; a board that can't be reached keeps no pool from its work."""
        try:
            async with self._redis.pipeline(transaction=True) as both:
                both.hset(self._key, report.name, report.model_dump_json())
                both.expire(self._key, STALE)
                await both.execute()
        except REDIS_ERRORS as error:
            logger.debug("The state of the compute pool can't be posted: {}", error)

    async def remove(self, report: PoolReport) -> None:
        """Take a pool off the board."""
        try:
            await self._redis.hdel(self._key, report.name)
        except REDIS_ERRORS as error:
            logger.debug("The state of the compute pool can't be removed: {}", error)

    async def read(self) -> list[PoolReport]:
        """Return the pools there are, and take off those that have gone without a word.

        Raises:
            RedisError: as the client does.
        """
        fields = await self._redis.hgetall(self._key)
        found = dict(_parsed(fields.items()))
        oldest = self._clock.now() - STALE
        fresh = {name: one for name, one in found.items() if one.at > oldest}
        if gone := [name for name in map(_text, fields) if name not in fresh]:
            await self._redis.hdel(self._key, *gone)
        return [fresh[name] for name in sorted(fresh)]


def _parsed(fields: Iterable[tuple[bytes | str, bytes | str]]) -> Iterable[tuple[str, PoolReport]]:
    for name, value in fields:
        try:
            yield _text(name), PoolReport.model_validate_json(value)
        except ValidationError:  # of another version
            continue


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
