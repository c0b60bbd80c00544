"""How the cache reaches Redis, and what it does when Redis is away: nothing, quickly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from loguru import logger
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import NoScriptError, ResponseError

from app.infrastructure.cache.scripts import Script, Word
from app.infrastructure.redis import REDIS_ERRORS, Multiplexer
from app.infrastructure.redis.client import close_client

Line = Sequence[Word]
COMPLAIN = 60.0
"""Seconds between two lines about a server that refuses."""


class AwayError(Exception):
    """Redis is not there, or refuses. Never leaves the cache."""


@dataclass(frozen=True, slots=True)
class Call:
    """A script with its keys and arguments."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Word] = ()

    def words(self, *, whole: bool = False) -> Line:
        """Return the command; `whole` for a server that does not know the script."""
        how = ("EVAL", self.script.source) if whole else ("EVALSHA", self.script.digest)
        return (*how, len(self.keys), *self.keys, *self.arguments)


class Link:
    """Runs commands. Each call ends within twice the timeout, whatever Redis does.

    Those that come while Redis is known to be away end at once.
    """

    def __init__(
        self, redis: Redis, fast: Multiplexer | None, timeout: float, retry: float
    ) -> None:
        """Run commands.

        Args:
            redis: for servers that have no single address, such as a cluster.
            fast: used instead where there is one.
            timeout: seconds to connect, and to get an answer.
            retry: seconds between two attempts while Redis is away.
        """
        self._redis: Any = redis  # its types know no command by name
        self._fast = fast
        self._timeout = timeout
        self._retry = retry
        self._next_try = 0.0
        self._next_complaint = 0.0
        self._looking: asyncio.Task[None] | None = None
        self.is_away = False
        self.spreads = isinstance(redis, RedisCluster)
        """Whether keys of one call may lie on several servers."""

    async def run(self, *asked: Call | Line) -> list[Any]:
        """Run commands in one write and return their answers.

        Raises:
            AwayError: at once while Redis is known to be away.
        """
        if self.is_away:
            self._look_again()
            raise AwayError
        return await self._run(asked)

    async def _run(self, asked: Sequence[Call | Line]) -> list[Any]:
        try:
            answers = await self._send([a.words() if isinstance(a, Call) else a for a in asked])
            for place, answer in enumerate(answers):
                if isinstance(answer, NoScriptError):
                    call = asked[place]
                    assert isinstance(call, Call)  # noqa: S101 - only a script can be unknown
                    (answers[place],) = await self._send([call.words(whole=True)])
            if failed := next((a for a in answers if isinstance(a, Exception)), None):
                raise failed
        except (*REDIS_ERRORS, TimeoutError) as error:
            self._failed(error)
            raise AwayError from error
        if self.is_away:
            self.is_away = False
            logger.info("The cache has Redis again")
        return answers

    async def ask(self) -> None:
        """Find out whether Redis is back, now."""
        with suppress(AwayError):
            await self._run([("PING",)])

    async def close(self) -> None:
        """Close the connections."""
        if self._looking:
            self._looking.cancel()
        if self._fast:
            await self._fast.close()
        with suppress(*REDIS_ERRORS):
            await close_client(self._redis)

    def _look_again(self) -> None:
        """Ask after each pause whether Redis is back, beside the callers: none of them waits."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_try and self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="cache: is Redis back?")

    async def _look(self) -> None:
        try:
            await self.ask()
        finally:
            self._looking = None

    def _failed(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(error, ResponseError):  # it answers, and refuses: out of memory, read-only
            if now >= self._next_complaint:
                self._next_complaint = now + COMPLAIN
                logger.warning("Redis refuses what the cache asks for: {}", error)
            return
        self._next_try = now + self._retry
        if not self.is_away:
            self.is_away = True
            logger.warning("The cache does without Redis until it is back: {!r}", error)

    async def _send(self, lines: Sequence[Line]) -> list[Any]:
        if self._fast and len(lines) == 1:
            try:
                return [await self._fast.execute(*lines[0])]
            except NoScriptError as error:
                return [error]
        if self._fast:
            return await self._fast.execute_all(lines)
        async with asyncio.timeout(self._timeout), self._redis.pipeline(transaction=False) as pipe:
            for line in lines:
                pipe.execute_command(*line)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
            return answers
