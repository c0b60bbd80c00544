"""Schedules: kept in Redis, and ticked by the workers of their queue."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.infrastructure.queue.jobs import Job
from app.infrastructure.queue.rabbitmq import upkeep_scripts
from app.infrastructure.queue.rabbitmq.keys import Keys
from app.infrastructure.queue.rabbitmq.wire import (
    milliseconds,
    moment,
    read_options,
    timestamp,
    twos,
    write_options,
)
from app.infrastructure.queue.redis_scripts import Call, Commands, Word
from app.infrastructure.queue.schedules import Schedule, ScheduleRecord

LONGEST_SLEEP = 1.0
"""Seconds between looks at the schedules: somebody may have added one."""


class Schedulers:
    """The schedules of all queues of a service."""

    def __init__(
        self, commands: Commands, keys: Keys, publish: Callable[[Job], Awaitable[object]]
    ) -> None:
        """Keep them through `commands`; `publish` records and sends the job of one that fires."""
        self._commands = commands
        self._keys = keys
        self._publish = publish

    async def put(self, schedule: Schedule, template: Job) -> None:
        """Add or change a schedule; one that is there as it is defined goes on."""
        definition = {
            "job": template.name,
            "body": template.body,
            "options": write_options(template.options),
            "headers": dict(template.headers),
            "cron": schedule.cron,
            "timezone": schedule.timezone if schedule.cron else None,
            "every": milliseconds(schedule.every) if schedule.every else None,
        }
        now = datetime.now(UTC)
        due = schedule.after(now) if schedule.cron else now
        text = json.dumps(definition, sort_keys=True)
        keys = [self._keys.base(template.queue), self._keys.queues]
        arguments: list[Word] = [template.queue, schedule.key, text, timestamp(due)]
        await self._commands.run(Call(upkeep_scripts.PUT_SCHEDULE, keys, arguments))

    async def remove(self, queue: str, key: str) -> bool:
        """Remove a schedule; False: there is none."""
        base = self._keys.base(queue)
        lines = [("ZREM", f"{base}schedules", key), ("DEL", f"{base}s:{key}")]
        return bool((await self._commands.execute_all(lines))[0])

    async def list(self, queue: str) -> list[ScheduleRecord]:
        """Return the schedules of a queue, the next one first."""
        found = await self._found(queue)
        return [
            _schedule_record(queue, key, due, json.loads(definition))
            for key, due, definition in found
        ]

    async def tick(self, queue: str) -> float:
        """Publish what is due by schedule; return the seconds until the next look."""
        due = await self._next(queue)
        if due is None:
            return LONGEST_SLEEP
        if due > time.time() * 1000:
            return min(due / 1000 - time.time(), LONGEST_SLEEP)
        if await self._commands.execute("HEXISTS", f"{self._keys.base(queue)}meta", "paused"):
            return LONGEST_SLEEP  # or there would be a job for each moment of the pause
        for key, moment_ms, definition in await self._found(queue):
            if moment_ms <= time.time() * 1000:
                await self._fire(queue, key, moment_ms, json.loads(definition))
        return 0.0

    async def _fire(self, queue: str, key: str, due: int, definition: dict[str, Any]) -> None:
        """Publish the job of one moment: its id makes sure that it is published once."""
        fired = datetime.fromtimestamp(due / 1000, UTC)
        job = Job(
            id=f"repeat:{key}:{due}",
            name=str(definition["job"]),
            body=str(definition["body"]),
            options=read_options(queue, str(definition["options"])),
            headers=definition["headers"],
            created_at=fired,
        )
        await self._publish(job)
        following = _schedule(key, definition).after(max(datetime.now(UTC), fired), fired)
        await self._advance(queue, key, due, timestamp(following))

    async def _found(self, queue: str) -> Sequence[tuple[str, int, str]]:
        """Return key, next moment in ms and definition of each schedule, the next one first."""
        base = self._keys.base(queue)
        flat = await self._commands.execute("ZRANGE", f"{base}schedules", 0, -1, "WITHSCORES")
        due = {key: int(float(score)) for key, score in twos(flat)}
        lines = [("HGET", f"{base}s:{key}", "definition") for key in due]
        found = await self._commands.execute_all(lines) if lines else []
        return [
            (key, moment_ms, definition or "{}")
            for (key, moment_ms), definition in zip(due.items(), found, strict=True)
        ]

    async def _next(self, queue: str) -> int | None:
        """Return when a schedule of the queue fires next: ms since the epoch."""
        key = f"{self._keys.base(queue)}schedules"
        flat = twos(await self._commands.execute("ZRANGE", key, 0, 0, "WITHSCORES"))
        return int(float(flat[0][1])) if flat else None

    async def _advance(self, queue: str, key: str, due: int, following: int) -> None:
        """Let a schedule that has fired fire again."""
        call = Call(upkeep_scripts.ADVANCE, [self._keys.base(queue)], [key, due, following])
        await self._commands.run(call)


def _schedule(key: str, definition: dict[str, Any]) -> Schedule:
    every = definition["every"]
    return Schedule(
        key=key,
        job=str(definition["job"]),
        cron=definition["cron"],
        timezone=definition["timezone"] or "UTC",
        every=timedelta(milliseconds=every) if every else None,
    )


def _schedule_record(queue: str, key: str, due: int, definition: dict[str, Any]) -> ScheduleRecord:
    schedule = _schedule(key, definition)
    return ScheduleRecord(
        key=key,
        queue=queue,
        job=schedule.job,
        cron=schedule.cron,
        timezone=definition["timezone"],
        every=schedule.every,
        next_at=moment(due),
    )
