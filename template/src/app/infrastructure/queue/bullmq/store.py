"""One queue in Redis: each method is one round trip that runs BullMQ's scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.infrastructure.queue.bullmq import scripts
from app.infrastructure.queue.bullmq.keys import QueueKeys
from app.infrastructure.queue.bullmq.packing import pack
from app.infrastructure.queue.bullmq.wire import (
    Fields,
    milliseconds,
    options_to_bullmq,
    reply_channel,
    timestamp,
    write_failure,
)
from app.infrastructure.queue.engine import Dead, Retry
from app.infrastructure.queue.jobs import Job, JobFailure
from app.infrastructure.queue.redis_scripts import Call, Commands, Word

KEPT_TRACEBACKS = 10
"""Of one job, as Bull Board shows them."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A job this worker holds, as it lay in Redis."""

    id: str
    token: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class Nothing:
    """There was no job to take."""

    limited: float = 0.0
    """Seconds until the rate limit allows one."""
    due: float | None = None
    """When the next delayed job is due: seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long ended jobs are kept. BullMQ trims a whole queue by it, so it is one for all."""

    results: float
    """Seconds."""
    completed: int
    """At most so many completed jobs."""
    dead: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The job is no longer this worker's: its lock was lost, or it is gone."""

    code: int


@dataclass(frozen=True, slots=True)
class _End:
    """How a job ends, in BullMQ's words."""

    target: str
    label: str
    value: str
    keep: Mapping[str, float]
    fields: Mapping[str, str] = field(default_factory=dict)


def _now() -> int:
    return round(time.time() * 1000)


class Store:
    """The jobs of one queue."""

    def __init__(
        self, commands: Commands, prefix: str, queue: str, lock: float, retention: Retention
    ) -> None:
        """Work on one queue.

        Args:
            commands: runs scripts.
            prefix: BullMQ's prefix.
            queue: its name.
            lock: seconds a taken job stays this worker's unless the lock is extended.
            retention: how long ended jobs are kept.
        """
        self.keys = QueueKeys.of(prefix, queue)
        self.queue = queue
        self._prefix = prefix
        self._commands = commands
        self._lock = round(lock * 1000)
        self._retention = retention
        keys = self.keys
        self._take_keys = keys(
            "wait", "active", "prioritized", "events", "stalled", "limiter", "delayed", "paused",
            "meta", "pc", "marker",
        )  # fmt: skip
        self._finish_keys = keys(
            "wait", "active", "prioritized", "events", "stalled", "limiter", "delayed", "paused",
            "meta", "pc",
        )  # fmt: skip
        self._add_keys = keys(
            "wait", "paused", "meta", "id", "completed", "delayed", "active", "events", "marker"
        )
        self._add_delayed_keys = keys("marker", "meta", "id", "delayed", "completed", "events")
        self._add_prioritized_keys = keys(
            "marker", "meta", "id", "prioritized", "delayed", "completed", "active", "events", "pc"
        )

    def adding(self, job: Job, parent: Mapping[str, Any] | None = None) -> Call:
        """Return the call that adds a job, as the child of `parent` if there is one."""
        options = options_to_bullmq(job)
        if job.options.delay:
            script, keys = scripts.ADD_DELAYED, self._add_delayed_keys
            last = milliseconds(job.options.delay)
        elif job.options.priority:
            script, keys = scripts.ADD_PRIORITIZED, self._add_prioritized_keys
            last = job.options.priority
        else:
            script, keys, last = scripts.ADD, self._add_keys, timestamp(job.created_at)
        if parent:
            options |= {"fpof": True, "parent": dict(parent)}
        return Call(script, keys, [*self._described(job, options, parent), last])

    def adding_parent(self, job: Job) -> Call:
        """Return the call that adds a job which waits for its children."""
        keys = self.keys("meta", "id", "delayed", "waiting-children", "completed", "events")
        return Call(scripts.ADD_PARENT, keys, self._described(job, options_to_bullmq(job), None))

    def parent_reference(self, job: Job) -> dict[str, Any]:
        """Return how its children name a job, and that it dies with any of them."""
        return {"id": job.id, "queueKey": f"{self._prefix}:{self.queue}", "fpof": True}

    def _described(
        self, job: Job, options: Mapping[str, Any], parent: Mapping[str, Any] | None
    ) -> list[Any]:
        parent_key = f"{parent['queueKey']}:{parent['id']}" if parent else None
        deduplication = job.options.deduplication
        packed = [
            self.keys.base,
            job.id,
            job.name,
            timestamp(job.created_at),
            parent_key,
            f"{parent_key}:dependencies" if parent_key else None,
            dict(parent) if parent else None,
            None,
            f"{self.keys.base}de:{deduplication.key}" if deduplication else None,
        ]
        return [pack(packed), job.body, pack(options)]

    async def take(self, token: str) -> Taken | Nothing:
        """Take the next job that may be started now."""
        options = pack({"token": token, "lockDuration": self._lock})
        arguments: list[Word] = [self.keys.base, _now(), options]
        answer = await self._commands.run(Call(scripts.TAKE, self._take_keys, arguments))
        return _taken(answer, token)

    async def complete(
        self, taken: Taken, result: str, *, more: bool, tell: str
    ) -> Taken | Nothing | Refused:
        """Write down a result, and take the next job in the same round trip if `more`."""
        keep = {"age": self._retention.results, "count": self._retention.completed}
        end = _End("completed", "returnvalue", result, keep)
        return await self._finish(taken, end, more=more, tell=tell)

    async def bury(
        self, taken: Taken, verdict: Dead, *, more: bool, tell: str
    ) -> Taken | Nothing | Refused:
        """Put a job among the dead, and take the next one in the same round trip if `more`."""
        keep = {"age": self._retention.dead}
        fields = {**_failed_fields(taken, verdict.failure), "reason": verdict.reason.value}
        end = _End("failed", "failedReason", str(verdict.failure), keep, fields)
        return await self._finish(taken, end, more=more, tell=tell)

    async def _finish(
        self, taken: Taken, end: _End, *, more: bool, tell: str
    ) -> Taken | Nothing | Refused:
        keys = [
            *self._finish_keys,
            *self.keys(end.target, taken.id, f"metrics:{end.target}", "marker"),
        ]
        options = {
            "token": taken.token,
            "keepJobs": end.keep,
            "lockDuration": self._lock,
            "attempts": 1,
            "maxMetricsSize": "",
            "fpof": '"fpof":true' in taken.fields.get("opts", ""),
        }
        arguments: list[Word] = [
            taken.id, _now(), end.label, end.value, end.target, "1" if more else "",
            self.keys.base, pack(options), _flat(end.fields), tell, reply_channel(taken.fields),
        ]  # fmt: skip
        answer = await self._commands.run(Call(scripts.FINISH, keys, arguments))
        return _refused(answer) or _taken(answer, taken.token)

    async def retry(self, taken: Taken, verdict: Retry, *, more: bool) -> Taken | Nothing | Refused:
        """Let a job come back after its pause, and take the next one in the same round trip."""
        fields = _flat(_failed_fields(taken, verdict.failure))
        pause = milliseconds(verdict.after)
        if pause <= 0:
            keys = [
                *self.keys("active", "wait", "paused", taken.id, "meta", "events", "delayed"),
                *self.keys("prioritized", "pc", "marker", "stalled"),
            ]
            now: list[Word] = [self.keys.base, _now(), "LPUSH", taken.id, taken.token, fields]
            answer = await self._commands.run(Call(scripts.RETRY_NOW, keys, now))
            return _refused(answer) or Nothing()
        keys = [
            *self.keys("marker", "active", "prioritized", "delayed", taken.id, "events", "meta"),
            *self.keys("stalled", "wait", "limiter", "pc"),
        ]
        options = pack({"token": taken.token, "lockDuration": self._lock})
        arguments: list[Word] = [
            self.keys.base, _now(), taken.id, taken.token, pause, "0", fields, "1" if more else "0",
            options,
        ]  # fmt: skip
        answer = await self._commands.run(Call(scripts.DELAY, keys, arguments))
        return _refused(answer) or _taken(answer, taken.token)

    async def release(self, taken: Taken) -> bool:
        """Put a job back to the front: its start does not count. False: it was no longer ours."""
        keys = self.keys(
            "active", "wait", "stalled", "paused", "meta", "limiter", "prioritized", "marker",
            "events",
        )  # fmt: skip
        job = self.keys.job(taken.id)
        answer = await self._commands.run(Call(scripts.RELEASE, keys, [taken.id, taken.token, job]))
        return _refused(answer) is None

    async def set_aside(self, job_id: str) -> None:
        """Keep that the job was taken and not started: it waits to run alone."""
        key = self.keys.job(job_id)
        await self._commands.execute_all([("HINCRBY", key, "ats", -1), ("HDEL", key, "alone")])

    async def mark_alone(self, job_id: str) -> None:
        """Keep that the job is started with nothing beside it."""
        key = self.keys.job(job_id)
        await self._commands.execute_all([("HINCRBY", key, "ats", 1), ("HSET", key, "alone", "1")])

    async def recover(self, interval: float) -> list[str]:
        """Give jobs whose lock has run out back to the queue; return their ids.

        Of all workers that ask within `interval` seconds only one does the work.
        """
        keys = self.keys(
            "stalled", "wait", "active", "stalled-check", "meta", "paused", "marker", "events",
            "repeat",
        )  # fmt: skip
        # How often is too often is decided when the job is started next: never here.
        never = 2**31
        arguments: list[Word] = [never, self.keys.base, _now(), round(interval * 1000)]
        answer = await self._commands.run(Call(scripts.RECOVER, keys, arguments))
        return list(answer or [])

    async def extend(self, commands: Commands, held: Mapping[str, str]) -> list[str]:
        """Extend locks, given jobs and tokens, over `commands`; return the ids of those lost."""
        if not held:
            return []
        arguments: list[Word] = [
            self.keys.base,
            pack(list(held.values())),
            pack(list(held)),
            self._lock,
        ]
        lost = await commands.run(Call(scripts.EXTEND, self.keys("stalled"), arguments))
        return list(lost or ())

    async def cancelled(self, job_ids: Sequence[str]) -> list[str]:
        """Return which of these running jobs somebody has cancelled."""
        if not job_ids:
            return []
        lines = [("HGET", self.keys.job(job_id), "cancel") for job_id in job_ids]
        answers = await self._commands.execute_all(lines)
        return [job_id for job_id, mark in zip(job_ids, answers, strict=True) if mark]

    async def wake(self) -> None:
        """Wake another worker: this one may have taken the marker and does not use it."""
        await self._commands.execute("ZADD", self.keys.base + "marker", 0, "0")

    async def progress(self, job_id: str, value: Any) -> None:
        """Keep how far a job is."""
        keys = self.keys(job_id, "events", "meta")
        text = json.dumps(value, separators=(",", ":"))
        await self._commands.run(Call(scripts.PROGRESS, keys, [job_id, text]))

    async def children_results(self, job_id: str) -> dict[str, Any]:
        """Return the results of the children of a job that are done, by id."""
        flat = await self._commands.execute("HGETALL", f"{self.keys.job(job_id)}:processed")
        return {key.rpartition(":")[2]: json.loads(value) for key, value in pairs(flat).items()}

    async def look(self, job_id: str) -> tuple[str, Fields]:
        """Return BullMQ's name of a job's state, and its hash."""
        keys = self.keys(
            "completed", "failed", "delayed", "active", "wait", "paused", "waiting-children",
            "prioritized",
        )  # fmt: skip
        call = Call(scripts.STATE, keys, [job_id, self.keys.job(job_id)])
        state, fields = await self._commands.run_with(call, ("HGETALL", self.keys.job(job_id)))
        return str(state), pairs(fields)


def _flat(fields: Mapping[str, str]) -> bytes | str:
    """Return fields as the scripts take them."""
    return pack([part for pair in fields.items() for part in pair]) if fields else ""


def _failed_fields(taken: Taken, failure: JobFailure) -> dict[str, str]:
    """Return what is kept of a failed attempt: for us, and for Bull Board."""
    written = write_failure(failure)
    try:
        traces = json.loads(taken.fields.get("stacktrace") or "[]")
    except ValueError:
        traces = []
    traces = [*traces, failure.traceback][-KEPT_TRACEBACKS:]
    fields = {
        "failedReason": str(failure),
        "stacktrace": json.dumps(traces, separators=(",", ":")),
        "last": written,
    }
    if "first" not in taken.fields:
        fields["first"] = written
    return fields


def _refused(answer: Any) -> Refused | None:
    return Refused(answer) if isinstance(answer, int) and answer < 0 else None


def _taken(answer: Any, token: str) -> Taken | Nothing:
    """Read what the scripts say about the next job: [fields, id, limit in ms, due]."""
    if not isinstance(answer, list):
        return Nothing()
    fields, job_id, *times = answer
    if fields:
        return Taken(str(job_id), token, pairs(fields))
    limited, due = (*times, 0, 0)[:2]
    return Nothing(
        limited=max(float(limited or 0), 0.0) / 1000, due=float(due) / 1000 if due else None
    )


def pairs(flat: Any) -> dict[str, str]:
    """Return a hash as Redis answers with it: flat, or already a mapping."""
    if isinstance(flat, Mapping):
        return dict(flat)
    return dict(zip(flat[::2], flat[1::2], strict=True))
