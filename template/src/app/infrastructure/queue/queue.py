"""The job queue as services use it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, Unpack, cast, overload

from app.core.ids import new_id
from app.infrastructure.queue.codec import encode_payload
from app.infrastructure.queue.engine import JobEngine
from app.infrastructure.queue.errors import InvalidJobError
from app.infrastructure.queue.events import Events, JobQueued
from app.infrastructure.queue.handle import JobHandle
from app.infrastructure.queue.handlers import HandlerRegistry, JobHandler
from app.infrastructure.queue.headers import caller_headers
from app.infrastructure.queue.jobs import Job
from app.infrastructure.queue.options import JobOptions, OptionChanges
from app.infrastructure.queue.schedules import Schedule

ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
OWN_NAMES = frozenset(
    (
        *("active", "completed", "de", "delayed", "events", "failed", "id", "limiter", "marker"),
        *("meta", "paused", "pc", "prioritized", "repeat", "stalled", "stalled-check", "wait"),
        "waiting-children",
    )
)
"""Where an engine keeps what belongs to a queue, beside its jobs."""
LONGEST_NAME = 255
"""Bytes of a handler's name: no more fit into a message of RabbitMQ."""
PayloadT = TypeVar("PayloadT")
ResultT = TypeVar("ResultT")
AnswerT = TypeVar("AnswerT")


class PublishOptions(OptionChanges, total=False):
    """Options of one job beside those its handler declares."""

    id: str
    """Of your own making; publishing it again adds nothing."""
    headers: Mapping[str, str]
    """Travel with the job, beside the caller's context."""


class JobQueue:
    """Publishes jobs. The engine that `QUEUE_ENGINE` names keeps them."""

    def __init__(self, engine: JobEngine, handlers: HandlerRegistry, events: Events) -> None:
        """Publish to `engine`."""
        self.engine = engine
        self._handlers = handlers
        self._events = events

    @overload
    async def publish(
        self,
        handler: JobHandler[PayloadT, ResultT],
        payload: PayloadT,
        **options: Unpack[PublishOptions],
    ) -> JobHandle[ResultT]: ...

    @overload
    async def publish(
        self,
        handler: JobHandler[None, ResultT],
        **options: Unpack[PublishOptions],
    ) -> JobHandle[ResultT]: ...

    @overload
    async def publish(
        self, handler: str, payload: Any = None, **options: Unpack[PublishOptions]
    ) -> JobHandle[Any]: ...

    async def publish(
        self,
        handler: JobHandler[Any, Any] | str,
        payload: Any = None,
        **options: Unpack[PublishOptions],
    ) -> JobHandle[Any]:
        """Publish one job. It is durable when this returns.

        Args:
            handler: who does it: what `@job` made, or its name.
            payload: of the type the handler declares.
            options: see `JobOptions`; over what the handler declares.

        Raises:
            InvalidJobError: the payload or an option can't be had.
            QueueUnavailableError: the broker did not answer in time. Publishing the same id again
                adds no second job.
        """
        return (await self.publish_many([self.prepare(handler, payload, **options)]))[0]

    def prepare(
        self,
        handler: JobHandler[Any, Any] | str,
        payload: Any = None,
        **options: Unpack[PublishOptions],
    ) -> Job:
        """Return a job without publishing it, for `publish_many` and `publish_after`.

        Raises:
            InvalidJobError: as `publish`.
        """
        known = self._handlers.get(handler) if isinstance(handler, str) else handler
        changes = dict(options)
        job_id = options.get("id") or new_id().hex
        headers = options.get("headers")
        for name in ("id", "headers"):
            changes.pop(name, None)
        base = known.options if known else JobOptions()
        return Job(
            id=_checked_id(job_id),
            name=_checked_name(handler if isinstance(handler, str) else handler.name),
            body=encode_payload(payload, known.payload if known else None),
            options=base.changed(cast("OptionChanges", changes)),
            headers=caller_headers(headers),
        )

    async def publish_many(self, jobs: Sequence[Job]) -> list[JobHandle[Any]]:
        """Publish jobs in one round trip, all or none; see `publish`.

        More than 500 go in several; publishing the same ones again after an error adds none twice.
        """
        if not jobs:
            return []
        ids = await self.engine.publish(jobs)
        self._tell(jobs)
        return [self._handle(job, job_id) for job, job_id in zip(jobs, ids, strict=True)]

    async def publish_after(self, job: Job, children: Sequence[Job]) -> JobHandle[Any]:
        """Publish jobs, and one that is started when all of them are done.

        It reads their results from `JobContext.children_results`. If one of them dies, is cancelled
        or purged, it dies as well. Publishing the same jobs again adds none twice.

        Returns:
            The handle of the job that waits.

        Raises:
            InvalidJobError: there are no children, or one of them is deduplicated or was published
                before: it may have ended already, or be waited for by another job.
            QueueUnavailableError: as `publish`.
        """
        if not children:
            message = "publish_after needs jobs to wait for"
            raise InvalidJobError(message)
        for child in children:
            if child.options.deduplication:
                message = f"{child.name} can't be deduplicated: another job waits for this very one"
                raise InvalidJobError(message)
        ids = await self.engine.publish_after(job, children)
        self._tell([job, *children])
        return self._handle(job, ids[0])

    def handle(self, queue: str, job_id: str) -> JobHandle[Any]:
        """Return the handle of a job by its id, in whatever process it was published."""
        return JobHandle(self.engine, queue, job_id, None)

    async def schedule(self, schedule: Schedule) -> None:
        """Add or change a schedule; it stays until it is removed.

        Raises:
            InvalidJobError: its payload or options can't be had.
            QueueUnavailableError: as `publish`.
        """
        await self.engine.put_schedule(schedule, self._template(schedule))

    async def unschedule(self, queue: str, key: str) -> bool:
        """Remove a schedule; False: there is none."""
        return await self.engine.remove_schedule(queue, key)

    def _template(self, schedule: Schedule) -> Job:
        return self.prepare(
            schedule.job, schedule.payload, **cast("PublishOptions", schedule.options)
        )

    def _handle(self, job: Job, job_id: str) -> JobHandle[Any]:
        known = self._handlers.get(job.name)
        return JobHandle(self.engine, job.queue, job_id, known.result if known else None)

    def _tell(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._events.tell(JobQueued(id=job.id, name=job.name, queue=job.queue))


def _checked_name(name: str) -> str:
    """Refuse a name no engine, or only one of them, could carry."""
    if not name.isprintable() or not 0 < len(name.encode()) <= LONGEST_NAME:
        message = f"a handler's name has 1 to {LONGEST_NAME} bytes, all printable: {name[:50]!r}"
        raise InvalidJobError(message)
    return name


def _checked_id(job_id: str) -> str:
    """Refuse an id an engine would take for something else.

    BullMQ numbers jobs itself, and uses the colon in keys.
    """
    if not ID.fullmatch(job_id) or job_id.isdigit():
        message = f"a job's id has 1 to 100 letters, digits, -, _ and ., unlike {job_id!r}"
        raise InvalidJobError(message)
    if job_id in OWN_NAMES:
        message = f"no job can have the id {job_id!r}: the queue itself uses it"
        raise InvalidJobError(message)
    return job_id
