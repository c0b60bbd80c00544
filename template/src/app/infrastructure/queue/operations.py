"""What `app worker` and `app jobs` do, and what they print."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from dishka import AsyncContainer
from pydantic import TypeAdapter

from app.core.discovery import discover
from app.core.service import in_service, part_of
from app.core.settings import load_settings, require_strong
from app.infrastructure.logger import configure_logging
from app.infrastructure.queue.admin import JobAdmin, JobFilter
from app.infrastructure.queue.engine import JobEngine
from app.infrastructure.queue.jobs import DeadReason, JobState
from app.infrastructure.queue.schemas import JobRead, QueueRead, ScheduleRead, writable
from app.infrastructure.queue.settings import QueueSettings
from app.infrastructure.queue.supervisor import Supervisor

ResultT = TypeVar("ResultT")
QUEUE = "queue"


def work() -> int:
    """Run the worker processes until a signal comes; return the exit code.

    Raises:
        ConfigurationError: settings that can't be used, or too weak for a deployed environment.
    """
    configure_logging()
    settings = load_settings(discover().modules)
    require_strong(settings)
    own = settings.get(QueueSettings)
    return Supervisor(processes=own.worker_processes, grace=own.worker_grace).run()


def _with_admin(use: Callable[[JobAdmin, JobEngine], Awaitable[ResultT]]) -> ResultT:
    async def run(container: AsyncContainer) -> ResultT:
        return await use(await container.get(JobAdmin), await container.get(JobEngine))

    return in_service(part_of(discover(), {QUEUE}), run)  # looking at jobs needs no other module


def dead_filter(
    name: str | None, reason: DeadReason | None, trace: str | None, before: datetime | None
) -> JobFilter:
    """Return a filter; a moment without time zone is UTC."""
    moment = before.replace(tzinfo=before.tzinfo or UTC) if before else None
    return JobFilter(name=name, reason=reason, trace_id=trace, before=moment)


def counts(*, as_json: bool) -> str:
    """Return every queue with its counts."""
    found = _with_admin(lambda admin, _: admin.overview())
    if as_json:
        return _json(list[QueueRead], [QueueRead.model_validate(item) for item in found])
    head = ["QUEUE", *(state.value.upper() for state in JobState)]
    rows = [
        [f"{item.queue}{' (paused)' if item.paused else ''}", *map(str, item.counts.values())]
        for item in found
    ]
    return table([head, *rows])


def listing(queue: str, state: JobState, wanted: JobFilter, limit: int, *, as_json: bool) -> str:
    """Return jobs of a state, a line each."""
    found = _with_admin(lambda admin, _: admin.select(queue, state, wanted, limit))
    if as_json:
        return _json(list[JobRead], [JobRead.model_validate(item) for item in found])
    head = ["ID", "NAME", "STARTS", "SINCE", "REASON", "ERROR"]
    rows = [
        [
            writable(item.id),
            writable(item.name) or "?",
            f"{item.starts}/{item.attempts}",
            f"{item.ended_at or item.created_at:%Y-%m-%d %H:%M:%S}"
            if item.ended_at or item.created_at
            else "-",
            item.reason or "-",
            str(item.last_failure or "-").splitlines()[0][:80],
        ]
        for item in found
    ]
    return table([head, *rows])


def show(queue: str, job_id: str) -> str:
    """Return a job as JSON."""
    found = _with_admin(lambda admin, _: admin.find(queue, job_id))
    return JobRead.model_validate(found).model_dump_json(indent=2)


def replay(queue: str, job_ids: Sequence[str], wanted: JobFilter | None) -> int:
    """Start dead jobs afresh; return how many."""

    async def run(admin: JobAdmin, _engine: JobEngine) -> int:
        if wanted is not None:
            return await admin.replay_all(queue, wanted)
        for job_id in job_ids:
            await admin.replay(queue, job_id)
        return len(job_ids)

    return _with_admin(run)


def cancel(queue: str, job_id: str) -> None:
    """Cancel a job."""
    _with_admin(lambda admin, _: admin.cancel(queue, job_id))


def purge(queue: str, state: JobState) -> int:
    """Delete all jobs of a state; return how many there were."""
    return _with_admin(lambda admin, _: admin.purge(queue, state))


def pause(queue: str) -> None:
    """Pause a queue."""
    _with_admin(lambda admin, _: admin.pause(queue))


def resume(queue: str) -> None:
    """Resume a queue."""
    _with_admin(lambda admin, _: admin.resume(queue))


def schedules(*, as_json: bool) -> str:
    """Return the schedules, a line each."""
    found = _with_admin(lambda admin, _: admin.schedules())
    if as_json:
        return _json(list[ScheduleRead], [ScheduleRead.model_validate(item) for item in found])
    head = ["QUEUE", "KEY", "JOB", "WHEN", "NEXT"]
    rows = [
        [
            item.queue,
            item.key,
            item.job,
            f"{item.cron} {item.timezone}" if item.cron else f"every {item.every}",
            f"{item.next_at:%Y-%m-%d %H:%M:%S}" if item.next_at else "-",
        ]
        for item in found
    ]
    return table([head, *rows])


def unschedule(queue: str, key: str) -> bool:
    """Remove a schedule; False: there is none."""
    return _with_admin(lambda _, engine: engine.remove_schedule(queue, key))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _json(kind: type[ResultT], value: ResultT) -> str:
    text = TypeAdapter(kind).dump_json(value)
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
