"""Looking at queues and looking after them: nothing a worker does all the time."""

from __future__ import annotations

from collections.abc import Mapping

from app.infrastructure.queue.errors import InvalidJobError
from app.infrastructure.queue.jobs import JobRecord, JobState
from app.infrastructure.queue.rabbitmq import upkeep_scripts
from app.infrastructure.queue.rabbitmq.keys import Keys
from app.infrastructure.queue.rabbitmq.wire import now_ms, pairs, read_record, twos
from app.infrastructure.queue.redis_scripts import Call, Commands, Word

BATCH = 500


class Listing:
    """Looks at the queues of one service."""

    def __init__(self, commands: Commands, keys: Keys) -> None:
        """Look through `commands`."""
        self._commands = commands
        self._keys = keys

    async def queues(self) -> list[str]:
        """Return the names of all queues that were ever used."""
        return sorted(await self._commands.execute("SMEMBERS", self._keys.queues))

    async def counts(self, queue: str) -> dict[JobState, int]:
        """Return how many jobs there are of each state."""
        lines = [("ZCARD", f"{self._keys.base(queue)}{state}") for state in JobState]
        answers = await self._commands.execute_all(lines)
        return {state: int(number) for state, number in zip(JobState, answers, strict=True)}

    async def jobs(self, queue: str, state: JobState, offset: int, limit: int) -> list[JobRecord]:
        """Return jobs of a state as they will be taken; ended ones from the newest."""
        command = "ZREVRANGE" if state.has_ended else "ZRANGE"
        key = f"{self._keys.base(queue)}{state}"
        ids = await self._commands.execute(command, key, offset, offset + limit - 1)
        found = await self._commands.execute_all(
            [("HGETALL", self._keys.job(queue, i)) for i in ids]
        )
        return [
            read_record(queue, job_id, fields)
            for job_id, fields in zip(ids, map(pairs, found), strict=True)
            if fields
        ]

    async def replay(self, queue: str, job_id: str) -> bool:
        """Make a dead job a waiting one; its message has to be sent."""
        call = Call(upkeep_scripts.REPLAY, [self._keys.base(queue)], [now_ms(), job_id])
        return bool(await self._commands.run(call))

    async def purge(self, queue: str, state: JobState) -> tuple[int, list[tuple[str, str]]]:
        """Delete all jobs of a state; return how many, and which jobs waited for one of them.

        Raises:
            InvalidJobError: of active ones: their workers would not know.
        """
        if state is JobState.ACTIVE:
            message = "active jobs can't be purged: cancel them, or wait"
            raise InvalidJobError(message)
        out = "1" if state in {JobState.WAITING, JobState.DELAYED} else "0"
        removed, orphaned = 0, list[tuple[str, str]]()
        while True:
            arguments: list[Word] = [state.value, BATCH, out, now_ms()]
            call = Call(upkeep_scripts.PURGE, [self._keys.base(queue), self._keys.root], arguments)
            gone, woken = await self._commands.run(call)
            removed += int(gone)
            orphaned += twos(woken)
            if gone < BATCH:
                return removed, orphaned

    async def set_meta(self, queue: str, values: Mapping[str, int | None]) -> None:
        """Set or remove what limits a queue."""
        meta = f"{self._keys.base(queue)}meta"
        lines: list[tuple[str | int, ...]] = [("SADD", self._keys.queues, queue)]
        lines += [
            ("HDEL", meta, name) if value is None else ("HSET", meta, name, value)
            for name, value in values.items()
        ]
        await self._commands.execute_all(lines)

    async def is_paused(self, queue: str) -> bool:
        """Tell whether a queue is paused."""
        return bool(
            await self._commands.execute("HEXISTS", f"{self._keys.base(queue)}meta", "paused")
        )
