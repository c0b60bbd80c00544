"""How scripts and commands reach Redis, and what becomes of its errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from app.infrastructure.queue.bullmq.scripts import EVERY, Script
from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.redis import REDIS_ERRORS

AnswerT = TypeVar("AnswerT")
Word = str | bytes | int | float


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
    """

    def __init__(self, redis: Redis, timeout: float) -> None:
        """Run commands on `redis`, each within `timeout` seconds."""
        self._redis: Any = redis  # its types know no command by name
        self._timeout = timeout

    async def execute(self, *words: Word) -> Any:
        """Run a command."""
        return await self._bounded(self._redis.execute_command(*words))

    async def run(self, call: Call, then: Sequence[Word] = ()) -> Any:
        """Run a script, and a command after it in the same write; return the script's answer."""
        return (await self.run_with(call, then))[0] if then else await self.execute_call(call)

    async def execute_call(self, call: Call) -> Any:
        """Run a script alone."""
        return await self._with_scripts(lambda: self._redis.execute_command(*call.words))

    async def run_with(self, call: Call, then: Sequence[Word]) -> list[Any]:
        """Run a script, and a command after it in the same write; return both answers."""
        return await self._pipeline([call.words, then], transaction=False)

    async def execute_all(self, lines: Sequence[Sequence[Word]]) -> list[Any]:
        """Run commands in one write."""
        return await self._pipeline(lines, transaction=False)

    async def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts, all or none, in one round trip."""
        return await self._pipeline([call.words for call in calls], transaction=True)

    async def _pipeline(self, lines: Sequence[Sequence[Word]], *, transaction: bool) -> list[Any]:
        async def send() -> list[Any]:
            async with self._redis.pipeline(transaction=transaction) as pipe:
                for line in lines:
                    pipe.execute_command(*line)
                answers: list[Any] = await pipe.execute()
                return answers

        answers: list[Any] = await self._with_scripts(send)
        return answers

    async def _with_scripts(self, work: Any) -> Any:
        """Run, and load the scripts if the server has lost them: a restart does that."""
        try:
            return await self._bounded(work())
        except NoScriptError:
            await self.load()
            return await self._bounded(work())

    async def load(self) -> None:
        """Let the server know all scripts."""

        async def send() -> None:
            async with self._redis.pipeline(transaction=False) as pipe:
                for script in EVERY:
                    pipe.execute_command("SCRIPT LOAD", script.source)
                await pipe.execute()

        await self._bounded(send())

    async def close(self) -> None:
        """Close the connections."""
        await self._bounded(self._redis.aclose())

    async def _bounded(self, work: Awaitable[AnswerT]) -> AnswerT:
        try:
            async with asyncio.timeout(self._timeout):
                return await work
        except NoScriptError:
            raise
        except (*REDIS_ERRORS, TimeoutError) as error:
            message = f"Redis does not do its work: {str(error) or type(error).__name__}"
            raise QueueUnavailableError(message, headers={"Retry-After": "5"}) from error
