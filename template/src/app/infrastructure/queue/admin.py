"""Looking after the queues: what `app jobs` and the /jobs routes do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from app.infrastructure.queue.engine import JobEngine
from app.infrastructure.queue.handle import unknown
from app.infrastructure.queue.jobs import DeadReason, JobRecord, JobState
from app.infrastructure.queue.schedules import ScheduleRecord

PAGE = 200
"""Jobs read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs; what is None does not matter."""

    name: str | None = None
    reason: DeadReason | None = None
    trace_id: str | None = None
    before: datetime | None = None
    """Ended, or else published, before this moment."""

    def matches(self, record: JobRecord) -> bool:
        """Tell whether a job is one of them."""
        moment = record.ended_at or record.created_at
        return (
            self.name in {None, record.name}
            and self.reason in {None, record.reason}
            and self.trace_id in {None, record.trace_id}
            and (self.before is None or (moment is not None and moment < self.before))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOverview:
    """One queue at a glance."""

    queue: str
    paused: bool
    counts: dict[JobState, int]


class JobAdmin:
    """Looks after all queues."""

    def __init__(self, engine: JobEngine) -> None:
        """Look after the queues of `engine`."""
        self._engine = engine

    async def overview(self) -> list[QueueOverview]:
        """Return every queue with its counts."""
        return [
            QueueOverview(
                queue=queue,
                paused=await self._engine.is_paused(queue),
                counts=await self._engine.counts(queue),
            )
            for queue in await self._engine.queues()
        ]

    async def find(self, queue: str, job_id: str) -> JobRecord:
        """Return a job.

        Raises:
            UnknownJobError: there is none, or no longer.
        """
        record = await self._engine.find(queue, job_id)
        if record is None:
            raise unknown(queue, job_id)
        return record

    async def select(
        self, queue: str, state: JobState, wanted: JobFilter, limit: int
    ) -> list[JobRecord]:
        """Return at most `limit` jobs of a state that match."""
        found: list[JobRecord] = []
        async for record in self._all(queue, state):
            if wanted.matches(record):
                found.append(record)
            if len(found) >= limit:
                break
        return found

    async def _all(self, queue: str, state: JobState) -> AsyncIterator[JobRecord]:
        offset = 0
        while page := await self._engine.list_jobs(queue, state, offset=offset, limit=PAGE):
            for record in page:
                yield record
            offset += PAGE

    async def replay(self, queue: str, job_id: str) -> None:
        """Start a dead job afresh.

        Raises:
            UnknownJobError: there is no such dead job.
        """
        if not await self._engine.replay(queue, job_id):
            raise unknown(queue, job_id)

    async def replay_all(self, queue: str, wanted: JobFilter) -> int:
        """Start all matching dead jobs afresh, the oldest first; return how many."""
        # Listed first, all of them: while they are replayed the list moves.
        dead = [r async for r in self._all(queue, JobState.DEAD) if wanted.matches(r)]
        replayed = [await self._engine.replay(queue, record.id) for record in reversed(dead)]
        return sum(replayed)

    async def purge(self, queue: str, state: JobState) -> int:
        """Delete all jobs of a state; return how many."""
        return await self._engine.purge(queue, state)

    async def cancel(self, queue: str, job_id: str) -> None:
        """Cancel a job.

        Raises:
            UnknownJobError: there is none that could be cancelled.
        """
        if not await self._engine.cancel(queue, job_id):
            raise unknown(queue, job_id)

    async def pause(self, queue: str) -> None:
        """Let no worker start another job of a queue."""
        await self._engine.pause(queue)

    async def resume(self, queue: str) -> None:
        """Undo `pause`."""
        await self._engine.resume(queue)

    async def schedules(self) -> list[ScheduleRecord]:
        """Return the schedules of all queues."""
        queues = await self._engine.queues()
        return [record for queue in queues for record in await self._engine.schedules(queue)]
