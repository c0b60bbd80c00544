"""Looking at queues and looking after them: nothing a worker does all the time."""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import Redis

from app.infrastructure.queue.bullmq import scripts
from app.infrastructure.queue.bullmq.keys import QueueKeys
from app.infrastructure.queue.bullmq.store import pairs
from app.infrastructure.queue.bullmq.wire import milliseconds, read_record
from app.infrastructure.queue.engine import QueueLimits
from app.infrastructure.queue.errors import InvalidJobError, QueueUnavailableError
from app.infrastructure.queue.jobs import JobRecord, JobState
from app.infrastructure.queue.redis_scripts import Call, Commands
from app.infrastructure.redis import REDIS_ERRORS

PLACES = {
    JobState.WAITING: ("wait", "prioritized"),
    JobState.DELAYED: ("delayed",),
    JobState.BLOCKED: ("waiting-children",),
    JobState.ACTIVE: ("active",),
    JobState.COMPLETED: ("completed",),
    JobState.DEAD: ("failed",),
}
"""Where BullMQ keeps the jobs of a state, in the order they are taken."""
LISTS = {"wait", "active"}
"""Lists, whose end is taken first; the others are sorted sets."""
HISTORY = {"completed", "failed"}
"""Shown from the newest."""
BATCH = 1000
OWN_FIELDS = ("first", "last", "reason", "cancel", "alone", "stc", "defa", "stacktrace")


class Listing:
    """Looks at the queues of one prefix."""

    def __init__(self, commands: Commands, prefix: str) -> None:
        """Look through `commands`."""
        self._commands = commands
        self._prefix = prefix

    def _keys(self, queue: str) -> QueueKeys:
        return QueueKeys.of(self._prefix, queue)

    async def queues(self, redis: Redis) -> list[str]:
        """Return the names of all queues that were ever used."""
        found = set()
        try:
            async for key in redis.scan_iter(match=f"{self._prefix}:*:meta", count=BATCH):
                found.add(key.removeprefix(f"{self._prefix}:").removesuffix(":meta"))
        except REDIS_ERRORS as error:
            raise QueueUnavailableError from error
        return sorted(found)

    async def counts(self, queue: str) -> dict[JobState, int]:
        """Return how many jobs there are of each state."""
        keys = self._keys(queue)
        places = [(state, place) for state, names in PLACES.items() for place in names]
        lines = [("LLEN" if place in LISTS else "ZCARD", keys.base + place) for _, place in places]
        counted = dict.fromkeys(PLACES, 0)
        answers = await self._commands.execute_all(lines)
        for (state, _), number in zip(places, answers, strict=True):
            counted[state] += int(number)
        return counted

    async def jobs(self, queue: str, state: JobState, offset: int, limit: int) -> list[JobRecord]:
        """Return jobs of one state, as they will be taken; history from the newest."""
        ids = await self._ids(queue, state, offset, limit)
        keys = self._keys(queue)
        answers = await self._commands.execute_all([("HGETALL", keys.job(i)) for i in ids])
        return [
            read_record(queue, job_id, state, pairs(fields))
            for job_id, fields in zip(ids, answers, strict=True)
            if fields
        ]

    async def _ids(self, queue: str, state: JobState, offset: int, limit: int) -> list[str]:
        found: list[str] = []
        for place in PLACES[state]:
            wanted = offset + limit - len(found)
            if wanted <= 0:
                break
            key = self._keys(queue).base + place
            if place in LISTS:
                part = await self._commands.execute("LRANGE", key, -wanted, -1)
                part = part[::-1]
            elif place in HISTORY:
                part = await self._commands.execute("ZREVRANGE", key, 0, wanted - 1)
            else:
                part = await self._commands.execute("ZRANGE", key, 0, wanted - 1)
            found += part
        return found[offset : offset + limit]

    async def replay(self, queue: str, job_id: str) -> bool:
        """Put a dead job back among the waiting ones, as if it had never been started."""
        keys = self._keys(queue)
        now = round(time.time() * 1000)
        afresh = Call(scripts.AFRESH, keys("failed", job_id), [job_id, now, *OWN_FIELDS])
        if not await self._commands.run(afresh):
            return False
        call = Call(
            scripts.REPROCESS,
            keys(
                job_id, "events", "failed", "wait", "meta", "active", "marker", "prioritized", "pc"
            ),
            [job_id, "LPUSH", "failedReason", "failed", "1", "1"],
        )
        answer: Any = await self._commands.run(call)
        return bool(answer == 1)

    async def purge(self, queue: str, state: JobState) -> int:
        """Delete all jobs of a state.

        Raises:
            InvalidJobError: of active ones: their workers would not know.
        """
        if state is JobState.ACTIVE:
            message = "active jobs can't be purged: cancel them, or wait"
            raise InvalidJobError(message)
        keys = self._keys(queue)
        removed = 0
        for place in PLACES[state]:
            while True:
                now = round(time.time() * 1000)
                calls = [
                    Call(scripts.ORPHAN, keys(place), [keys.base, now, BATCH]),
                    Call(
                        scripts.CLEAN,
                        keys(place, "events", "repeat"),
                        [keys.base, now, BATCH, place],
                    ),
                ]
                if state.has_ended:
                    del calls[0]  # those that waited for them were told
                gone: Any = (await self._commands.run_all(calls))[-1]
                removed += len(gone or ())
                if len(gone or ()) < BATCH:
                    break
        return removed

    async def pause(self, queue: str, *, paused: bool) -> None:
        """Pause or resume a queue, for workers in Node as well."""
        kinds = ("wait", "paused") if paused else ("paused", "wait")
        keys = self._keys(queue)(*kinds, "meta", "prioritized", "events", "delayed", "marker")
        await self._commands.run(Call(scripts.PAUSE, keys, ["paused" if paused else "resumed"]))

    async def is_paused(self, queue: str) -> bool:
        """Tell whether a queue is paused."""
        meta = self._keys(queue).base + "meta"
        return bool(await self._commands.execute("HEXISTS", meta, "paused"))

    async def limit(self, limits: QueueLimits) -> None:
        """Set or lift the limits of a queue."""
        meta = self._keys(limits.queue).base + "meta"
        wanted = {
            "concurrency": limits.concurrency,
            "max": limits.rate,
            "duration": milliseconds(limits.per) if limits.rate else None,
        }
        lines: list[tuple[str | int, ...]] = [
            ("HDEL", meta, name) if value is None else ("HSET", meta, name, value)
            for name, value in wanted.items()
        ]
        await self._commands.execute_all(lines)
