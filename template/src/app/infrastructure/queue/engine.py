"""What an engine must do. Everything above it is the same whichever is chosen.

An engine moves jobs: it keeps them, hands them to a `Runner`, and does with each what the runner's
verdict says. What a job means, when it is repeated and when it is given up is decided above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from app.infrastructure.queue.jobs import DeadReason, Job, JobFailure, JobRecord, JobState
from app.infrastructure.queue.schedules import Schedule, ScheduleRecord


class DeliveryHooks(Protocol):
    """What an engine does for running jobs."""

    async def progress(self, job_id: str, value: Any) -> None:
        """Keep how far a job is."""
        ...

    async def children_results(self, job_id: str) -> Mapping[str, Any]:
        """Read the results of the jobs it depends on, by id."""
        ...

    async def set_aside(self, job_id: str) -> None:
        """Keep that it waits to run alone: being taken was no start, and no crash is its own."""
        ...

    async def mark_alone(self, job_id: str) -> None:
        """Keep that it starts, and that nothing runs beside it: the next crash is its own."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A job that is about to be started, with its history."""

    id: str
    queue: str
    job: Job | None
    """None: what was in the broker is not a job; `problem` says why."""
    problem: str = ""
    starts: int = 1
    """How often it was started, this time included."""
    failures: int = 0
    """How many attempts ended with an error."""
    crashes: int = 0
    """How many ended because the worker vanished."""
    crashed_alone: bool = False
    """Whether it was the only job of the worker that vanished last: then it is the culprit."""
    first_failure: JobFailure | None = None
    last_failure: JobFailure | None = None
    cancelled: bool = False
    """Whether somebody cancelled it before it was started."""
    blocked_by: str = ""
    """Which job it depends on is dead."""
    hooks: DeliveryHooks | None = None
    """What its engine can do for it while it runs."""


@dataclass(frozen=True, slots=True)
class Completed:
    """It is done."""

    result: str
    """As JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """It is to be started again."""

    after: timedelta
    failure: JobFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """It is given up."""

    reason: DeadReason
    failure: JobFailure


@dataclass(frozen=True, slots=True)
class GiveBack:
    """This worker can't go on with it: another one starts it, and this start does not count."""


Verdict = Completed | Retry | Dead | GiveBack


class JobRunner(Protocol):
    """Runs jobs for an engine: the executor does."""

    async def run(self, delivery: Delivery) -> Verdict:
        """Run one delivery. Whatever the handler does, this answers with a verdict."""
        ...

    def cancel(self, queue: str, job_id: str) -> None:
        """Interrupt a running job that somebody cancelled: its verdict is `Dead`."""
        ...

    def give_back(self, queue: str, job_id: str) -> None:
        """Interrupt a running job that this worker can't finish: its verdict is `GiveBack`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much of a queue is done at once, over all workers. A module contributes it."""

    queue: str
    concurrency: int | None = None
    """Jobs at the same time; None: no limit."""
    rate: int | None = None
    """Jobs started in each `per`; None: no limit."""
    per: timedelta = timedelta(seconds=1)


class Consumer(Protocol):
    """The part of a worker that takes the jobs of one queue."""

    async def start(self) -> None:
        """Begin to take jobs.

        Raises:
            QueueUnavailableError: the broker can't be reached.
        """
        ...

    async def stop(self, grace: float) -> Sequence[str]:
        """Take no more, wait for the running ones, and give back what is left after `grace`.

        Args:
            grace: seconds.

        Returns:
            The ids of the jobs that were given back.
        """
        ...

    def is_alive(self) -> bool:
        """Tell whether it has heard of the broker lately."""
        ...


class JobEngine(Protocol):
    """An engine.

    Methods raise `QueueUnavailableError` when its servers do not answer: within
    `QUEUE_PUBLISH_TIMEOUT`, and as long again where a connection has to be made first.
    """

    async def start(self) -> None:
        """Connect."""
        ...

    async def stop(self) -> None:
        """Disconnect; within a bounded time, whatever the servers do."""
        ...

    async def publish(self, jobs: Sequence[Job]) -> list[str]:
        """Add jobs, all or none, in one round trip. They are durable when this returns.

        Publishing an id again adds nothing.

        Returns:
            Their ids in order; where a deduplication key was taken, that of the job that holds it.
        """
        ...

    async def publish_after(self, parent: Job, children: Sequence[Job]) -> list[str]:
        """Add children, and a job that is started when all of them are done.

        Returns:
            The id of the parent, then those of the children.
        """
        ...

    def consume(self, queue: str, concurrency: int, runner: JobRunner) -> Consumer:
        """Return a consumer; it has not started yet."""
        ...

    async def find(self, queue: str, job_id: str) -> JobRecord | None:
        """Return what is known of a job, or None."""
        ...

    async def ended(self, queue: str, job_id: str, patience: float | None) -> JobRecord:
        """Wait until a job has ended; of a completed one perhaps only the result is known.

        Raises:
            UnknownJobError: there is none of this id, or no longer.
            JobTimeoutError: it has not ended within `patience` seconds.
        """
        ...

    async def list_jobs(
        self, queue: str, state: JobState, *, offset: int = 0, limit: int = 100
    ) -> list[JobRecord]:
        """Return jobs of one state: the dead from the newest, the others as they will be taken."""
        ...

    async def counts(self, queue: str) -> dict[JobState, int]:
        """Return how many jobs there are of each state."""
        ...

    async def queues(self) -> list[str]:
        """Return the names of the queues there are, sorted."""
        ...

    async def cancel(self, queue: str, job_id: str) -> bool:
        """Cancel a job: at once if it waits, else its worker is told.

        Returns:
            Whether there was something to cancel.
        """
        ...

    async def replay(self, queue: str, job_id: str) -> bool:
        """Start a dead job afresh, all its attempts before it. False: there is no such dead job."""
        ...

    async def purge(self, queue: str, state: JobState) -> int:
        """Delete all jobs of a state except active ones; return how many there were."""
        ...

    async def pause(self, queue: str) -> None:
        """Let no worker start another job of this queue."""
        ...

    async def resume(self, queue: str) -> None:
        """Undo `pause`."""
        ...

    async def is_paused(self, queue: str) -> bool:
        """Tell whether the queue is paused."""
        ...

    async def limit(self, limits: QueueLimits) -> None:
        """Set the limits of a queue, for all workers."""
        ...

    async def put_schedule(self, schedule: Schedule, template: Job) -> None:
        """Add or change a schedule; what it publishes looks like `template`."""
        ...

    async def remove_schedule(self, queue: str, key: str) -> bool:
        """Remove a schedule; False: there is none."""
        ...

    async def schedules(self, queue: str) -> list[ScheduleRecord]:
        """Return the schedules of a queue."""
        ...

    async def check(self) -> None:
        """Ask the servers for an answer, for the health check."""
        ...
