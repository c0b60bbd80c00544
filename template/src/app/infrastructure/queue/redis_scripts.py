"""How scripts and commands reach Redis, and what becomes of its errors. For every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import NoScriptError

from app.infrastructure.queue.errors import BrokenRecordError, QueueUnavailableError
from app.infrastructure.redis import REDIS_ERRORS, Multiplexer
from app.infrastructure.redis.client import close_client

Word = str | bytes | int | float
Line = Sequence[Word]


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, and the name Redis knows it by."""

    source: str = field(repr=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Name it as Redis does."""
        digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)


@dataclass(frozen=True, slots=True)
class Call:
    """A script with its keys and arguments."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Word]

    @property
    def words(self) -> tuple[Word, ...]:
        """The command."""
        keys = self.keys
        return ("EVALSHA", self.script.digest, len(keys), *keys, *self.arguments)


class Commands:
    """Runs them; each call is bounded in time and fails with one kind of error.

    Raises:
        QueueUnavailableError: Redis did not answer, or refuses to work (out of memory, read-only).
        BrokenRecordError: a key is not what it should be.
    """

    def __init__(
        self,
        scripts: Sequence[Script],
        redis: Redis,
        timeout: float,
        fast: Multiplexer | None = None,
    ) -> None:
        """Run commands.

        Args:
            scripts: all that may be run.
            redis: for servers that have no single address, such as a cluster.
            timeout: seconds a call may take.
            fast: used instead where there is one.
        """
        self._scripts = scripts
        self._redis: Any = redis  # its types know no command by name
        self._timeout = timeout
        self._fast = fast

    async def execute(self, *words: Word) -> Any:
        """Run a command."""
        return (await self._run([words]))[0]

    async def run(self, call: Call) -> Any:
        """Run a script."""
        return (await self._run([call.words]))[0]

    async def run_with(self, call: Call, then: Line) -> list[Any]:
        """Run a script, and a command after it in the same write; return both answers."""
        return await self._run([call.words, then])

    async def execute_all(self, lines: Sequence[Line]) -> list[Any]:
        """Run commands in one write."""
        return await self._run(lines)

    async def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts, all or none, in one round trip."""
        return await self._run([call.words for call in calls], transaction=True)

    async def load(self) -> None:
        """Let the server know all scripts."""
        if not isinstance(self._redis, RedisCluster):
            await self._run([("SCRIPT", "LOAD", script.source) for script in self._scripts])
            return
        try:
            async with asyncio.timeout(self._timeout):
                for script in self._scripts:
                    await self._redis.script_load(script.source)  # on every node
        except (*REDIS_ERRORS, TimeoutError) as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._fast:
            await self._fast.close()
        with suppress(*REDIS_ERRORS):
            await close_client(self._redis)

    async def _run(self, lines: Sequence[Line], *, transaction: bool = False) -> list[Any]:
        """Run, and load the scripts if the server has lost them: a restart does that."""
        try:
            try:
                return await self._send(lines, transaction=transaction)
            except NoScriptError:
                await self.load()
                return await self._send(lines, transaction=transaction)
        except (*REDIS_ERRORS, TimeoutError) as error:
            raise _unavailable(error) from error

    async def _send(self, lines: Sequence[Line], *, transaction: bool) -> list[Any]:
        fast = self._fast
        if fast and len(lines) == 1:
            return [await fast.execute(*lines[0])]
        if fast:
            answers = await (fast.transaction(lines) if transaction else fast.execute_all(lines))
        else:
            async with asyncio.timeout(self._timeout):
                answers = await self._pipeline(lines, transaction=transaction)
        if failed := next((a for a in answers if isinstance(a, Exception)), None):
            raise failed
        return answers

    async def _pipeline(self, lines: Sequence[Line], *, transaction: bool) -> list[Any]:
        async with self._redis.pipeline(transaction=transaction) as pipe:
            for line in lines:
                pipe.execute_command(*line)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
            return answers


def _unavailable(error: Exception) -> QueueUnavailableError:
    if str(error).startswith("WRONGTYPE"):
        return BrokenRecordError(headers={"Retry-After": "5"})
    message = f"Redis does not do its work: {str(error) or type(error).__name__}"
    return QueueUnavailableError(message, headers={"Retry-After": "5"})
