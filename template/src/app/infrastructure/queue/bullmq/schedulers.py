"""Schedules as BullMQ's job schedulers: workers in Node tick ours, and ours tick theirs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.infrastructure.queue.bullmq import scripts
from app.infrastructure.queue.bullmq.keys import QueueKeys
from app.infrastructure.queue.bullmq.packing import pack
from app.infrastructure.queue.bullmq.store import pairs
from app.infrastructure.queue.bullmq.wire import milliseconds, moment, options_to_bullmq, timestamp
from app.infrastructure.queue.errors import InvalidJobError
from app.infrastructure.queue.jobs import Job
from app.infrastructure.queue.redis_scripts import Call, Commands, Word
from app.infrastructure.queue.schedules import Schedule, ScheduleRecord

SCHEDULER_KINDS = (
    "repeat", "delayed", "wait", "paused", "meta", "prioritized", "marker", "id", "events", "pc",
)  # fmt: skip
STATE_KINDS = (
    "completed", "failed", "delayed", "active", "wait", "paused", "waiting-children", "prioritized",
)  # fmt: skip


class Schedulers:
    """The schedules of all queues of a prefix."""

    def __init__(self, commands: Commands, prefix: str) -> None:
        """Keep them through `commands`."""
        self._commands = commands
        self._prefix = prefix

    def _keys(self, queue: str) -> QueueKeys:
        return QueueKeys.of(self._prefix, queue)

    async def put(self, schedule: Schedule, template: Job) -> None:
        """Add or change a schedule; one that is there as it is defined goes on.

        Its next job is in the queue already, delayed.
        """
        keys = self._keys(template.queue)
        options = options_to_bullmq(template)
        del options["jobId"]
        now = datetime.now(UTC)
        due = schedule.after(now) if schedule.cron else now
        scheduler = {
            "name": template.name,
            **({"pattern": schedule.cron, "tz": schedule.timezone} if schedule.cron else {}),
            **({"every": milliseconds(schedule.every)} if schedule.every else {}),
        }
        if await self._goes_on(keys, schedule.key, {**scheduler, "data": template.body}, options):
            return
        arguments: list[Word] = [
            timestamp(due),
            pack(scheduler),
            schedule.key,
            template.body,
            pack(options),
            pack(_next_options(options, schedule.key, _repeat(scheduler), timestamp(due), 1)),
            timestamp(now),
            keys.base,
            "",
        ]
        call = Call(scripts.ADD_SCHEDULER, keys(*SCHEDULER_KINDS, "active"), arguments)
        answer = await self._commands.run(call)
        if isinstance(answer, int) and answer < 0:
            message = (
                f"schedule {schedule.key!r} can't be put (code {answer}): its next job is there "
                "already; wait until it is done"
            )
            raise InvalidJobError(message)

    async def _goes_on(
        self, keys: QueueKeys, key: str, wanted: Mapping[str, Any], options: Mapping[str, Any]
    ) -> bool:
        """Tell whether a schedule is there as it is wanted, and its next job is to come.

        Put again, BullMQ would delete that job: the one that is due, and that nobody took yet.
        """
        flat, due = await self._commands.execute_all(
            [("HGETALL", f"{keys.base}repeat:{key}"), ("ZSCORE", keys.base + "repeat", key)]
        )
        if due is None:
            return False
        known = {"data": "{}", **pairs(flat)}  # BullMQ leaves that out
        same = {name: known.get(name) for name in ("name", "pattern", "tz", "every", "data")} == {
            name: str(wanted[name]) if name in wanted else None
            for name in ("name", "pattern", "tz", "every", "data")
        }
        if not same or json.loads(known.get("opts", "{}")) != options:
            return False
        job_id = f"repeat:{key}:{float(due):.0f}"
        state = await self._commands.run(Call(scripts.STATE, keys(*STATE_KINDS), [job_id]))
        return state in {"delayed", "waiting", "prioritized", "active"}

    async def advance(self, queue: str, job_id: str, fields: Mapping[str, str]) -> None:
        """Add the next job of the schedule that made this one, unless that was done already."""
        keys = self._keys(queue)
        options = json.loads(fields["opts"])
        repeat = options.get("repeat") or {}
        now = max(round(time.time() * 1000), int(options.get("prevMillis") or 0))
        due = _next_millis(repeat, now)
        if due is None:
            return
        count = int(repeat.get("count") or 0) + 1
        arguments: list[Word] = [
            due,
            fields["rjk"],
            fields["data"],
            pack(_next_options(options, fields["rjk"], repeat, due, count)),
            round(time.time() * 1000),
            keys.base,
            job_id,
        ]
        call = Call(scripts.NEXT_OF_SCHEDULER, keys(*SCHEDULER_KINDS, job_id, "active"), arguments)
        await self._commands.run(call)

    async def remove(self, queue: str, key: str) -> bool:
        """Remove a schedule and its next job; False: there is none."""
        keys = self._keys(queue)
        call = Call(scripts.REMOVE_SCHEDULER, keys("repeat", "delayed", "events"), [key, keys.base])
        return bool(await self._commands.run(call) == 0)

    async def list(self, queue: str) -> list[ScheduleRecord]:
        """Return the schedules of a queue, the next one first."""
        keys = self._keys(queue)
        names = await self._commands.execute("ZRANGE", keys.base + "repeat", 0, -1)
        times = [("ZSCORE", keys.base + "repeat", name) for name in names]
        scores = await self._commands.execute_all(times) if times else []
        due = {name: float(score or 0) for name, score in zip(names, scores, strict=True)}
        lines = [("HGETALL", f"{keys.base}repeat:{key}") for key in due]
        found = await self._commands.execute_all(lines) if lines else []
        return [
            ScheduleRecord(
                key=key,
                queue=queue,
                job=fields.get("name", ""),
                cron=fields.get("pattern"),
                timezone=fields.get("tz"),
                every=timedelta(milliseconds=int(fields["every"])) if "every" in fields else None,
                next_at=moment(due[key]),
            )
            for key, fields in zip(due, map(pairs, found), strict=True)
        ]


def _repeat(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scheduler.items() if name != "name"}


def _next_options(
    options: Mapping[str, Any], key: str, repeat: Mapping[str, Any], due: int, count: int
) -> dict[str, Any]:
    """Return the options of a schedule's next job, as BullMQ's own library writes them."""
    now = round(time.time() * 1000)
    return {
        **options,
        "jobId": f"repeat:{key}:{due}",
        "delay": max(due - now, 0),
        "timestamp": now,
        "prevMillis": due,
        "repeatJobKey": key,
        "repeat": {**repeat, "count": count},
    }


def _next_millis(repeat: Mapping[str, Any], now: int) -> int | None:
    """Return when a schedule fires next; for intervals the script reckons, and this is a start.

    None: not any more: its end has come.
    """
    limit, end = repeat.get("limit"), repeat.get("endDate")
    if limit and int(repeat.get("count") or 0) + 1 > int(limit):
        return None
    if isinstance(end, (int, float)) and now > end:
        return None
    if pattern := repeat.get("pattern"):
        zone = str(repeat.get("tz") or "UTC")
        schedule = Schedule(key="any", job="any", cron=str(pattern), timezone=zone)
        return timestamp(schedule.after(datetime.fromtimestamp(now / 1000, UTC)))
    return now
