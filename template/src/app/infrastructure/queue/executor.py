"""Run one attempt of a job and say what is to become of it. The same on every engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from dishka import AsyncContainer
from loguru import logger
from pydantic import ValidationError

from app.core.container import WorkScope
from app.core.errors import AppError
from app.core.json_names import EITHER_NAME
from app.core.transient import Repeats, is_transient
from app.infrastructure.logger import in_context
from app.infrastructure.queue.context import JobContext
from app.infrastructure.queue.engine import Completed, Dead, Delivery, GiveBack, Retry, Verdict
from app.infrastructure.queue.errors import (
    AttemptTimeoutError,
    CancelledInsideError,
    ExitInsideError,
    RejectJobError,
    RetryJobError,
)
from app.infrastructure.queue.events import (
    Events,
    JobCompleted,
    JobDied,
    JobGivenBack,
    JobProgressed,
    JobRetried,
    JobStalled,
    JobStarted,
)
from app.infrastructure.queue.handlers import HandlerRegistry, JobHandler
from app.infrastructure.queue.headers import job_log_context
from app.infrastructure.queue.jobs import DeadReason, Job, JobFailure
from app.infrastructure.queue.lane import Lane

MOST_THREADS = 1000
"""For handlers that are not async. They are made as they are needed: one for each running job."""


@dataclass(slots=True)
class _Attempt:
    """A running attempt, and what was asked of it from outside."""

    task: asyncio.Task[Any]
    context: JobContext
    cancelled: bool = False
    given_back: bool = False
    overdue: bool = False

    @property
    def interrupted(self) -> bool:
        return self.cancelled or self.given_back or self.overdue

    def expire(self) -> None:
        self.overdue = self.context.is_cancelled = True
        self.task.cancel()


class Executor:
    """Runs the jobs of one worker process."""

    def __init__(
        self, handlers: HandlerRegistry, container: AsyncContainer, events: Events
    ) -> None:
        """Know the handlers, where their services come from, and whom to tell."""
        self._handlers = handlers
        self._container = container
        self._events = events
        self._lane = Lane()
        # Not those of the event loop: they are few, and a job that hangs keeps one.
        self._threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="job")
        self._attempts: dict[tuple[str, str], _Attempt] = {}
        """By queue and id: an id may be used in several queues."""

    @property
    def running(self) -> list[str]:
        """The ids of the running jobs."""
        return [job_id for _, job_id in self._attempts]

    def cancel(self, queue: str, job_id: str) -> None:
        """Interrupt a running job: somebody cancelled it."""
        attempt = self._attempts.get((queue, job_id))
        # Once: it is told by a message and seen by a look, and a handler may be cleaning up.
        if attempt and not attempt.cancelled:
            attempt.cancelled = attempt.context.is_cancelled = True
            attempt.task.cancel()

    def give_back(self, queue: str, job_id: str) -> None:
        """Interrupt a running job: this worker has to stop."""
        if attempt := self._attempts.get((queue, job_id)):
            attempt.given_back = attempt.context.is_cancelled = True
            attempt.task.cancel()

    async def run(self, delivery: Delivery) -> Verdict:
        """Run one delivery; see `Runner`."""
        job = delivery.job
        if job is None:
            return self._dead(delivery, DeadReason.UNDECODABLE, delivery.problem)
        with job_log_context(job):
            handler = self._handlers.get(job.name)
            if refused := self._refuse(delivery, job, handler):
                return self._dead(delivery, *refused)
            assert handler is not None  # noqa: S101 - `_refuse` has looked
            if delivery.crashes:
                async with self._alone(delivery, job):
                    return await self._attempt(delivery, job, handler)
            if not self._lane.try_share():
                await self._lane.share()
            try:
                return await self._attempt(delivery, job, handler)
            finally:
                await self._lane.leave()

    def _refuse(
        self, delivery: Delivery, job: Job, handler: JobHandler[Any, Any] | None
    ) -> tuple[DeadReason, str] | None:
        """Tell why a job can't be started, if it can't."""
        if delivery.cancelled:
            return DeadReason.CANCELLED, "cancelled before it was started"
        if delivery.blocked_by:
            return DeadReason.CHILD, delivery.blocked_by
        if handler is None:
            return DeadReason.UNKNOWN, f"no handler is called {job.name!r}"
        limit = job.options.expires_in
        if limit is not None and delivery.starts == 1 and _age(job) > limit.total_seconds():
            return DeadReason.EXPIRED, f"not started within {limit}"
        if delivery.starts > job.options.attempts and delivery.crashed_alone:
            return DeadReason.STALLED, f"its worker died or hung {delivery.crashes} times"
        return None

    @asynccontextmanager
    async def _alone(self, delivery: Delivery, job: Job) -> AsyncIterator[None]:
        """Wait until a job under suspicion can run with nothing beside it."""
        known = {"id": job.id, "name": job.name, "queue": delivery.queue}
        self._events.tell(JobStalled(**known, crashes=delivery.crashes))
        if delivery.hooks:
            await delivery.hooks.set_aside(job.id)
        async with self._lane.alone():
            if delivery.hooks:
                await delivery.hooks.mark_alone(job.id)
            yield

    async def _attempt(
        self, delivery: Delivery, job: Job, handler: JobHandler[Any, Any]
    ) -> Verdict:
        known = {"id": job.id, "name": job.name, "queue": delivery.queue}
        self._events.tell(JobStarted(**known, attempt=delivery.starts, waited=_age(job)))
        attempt = self._begin(delivery, job)
        began = time.perf_counter()
        try:
            verdict = await self._outcome(attempt, delivery, job, handler)
        finally:
            key = delivery.queue, job.id
            if self._attempts.get(key) is attempt:  # and not begun again meanwhile
                del self._attempts[key]
            if attempt.interrupted:
                await _absorb(attempt.task)
        took = time.perf_counter() - began
        match verdict:
            case Completed():
                event = JobCompleted(**known, attempt=delivery.starts, duration=took)
                self._events.tell(event)
            case Retry():
                after = verdict.after.total_seconds()
                told = JobRetried(
                    **known,
                    attempt=delivery.starts,
                    duration=took,
                    failure=verdict.failure,
                    after=after,
                )
                self._events.tell(told)
            case Dead():
                died = JobDied(
                    **known,
                    attempt=delivery.starts,
                    reason=verdict.reason,
                    failure=verdict.failure,
                )
                self._events.tell(died)
            case GiveBack():
                self._events.tell(JobGivenBack(**known, attempt=delivery.starts))
        return verdict

    def _begin(self, delivery: Delivery, job: Job) -> _Attempt:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is a coroutine
        limit = job.options.timeout

        def report(value: Any) -> None:
            known = {"id": job.id, "name": job.name, "queue": delivery.queue}
            self._events.tell(JobProgressed(**known, value=value))

        context = JobContext(
            job=job,
            attempt=delivery.starts,
            deadline=datetime.now(UTC) + limit if limit else None,
            logger=logger,
            hooks=delivery.hooks,
            report=report,
        )
        attempt = _Attempt(task, context)
        self._attempts[delivery.queue, job.id] = attempt
        return attempt

    async def _outcome(
        self, attempt: _Attempt, delivery: Delivery, job: Job, handler: JobHandler[Any, Any]
    ) -> Verdict:
        try:
            arguments = _arguments(handler, job, attempt.context)
        except ValidationError as error:
            return Dead(reason=DeadReason.INVALID, failure=JobFailure.of(error))
        try:
            value = await self._call(attempt, handler, arguments)
        except asyncio.CancelledError as error:
            if attempt.interrupted:
                return _after_interruption(attempt, error, delivery)
            if attempt.task.cancelling():
                raise  # the place itself is ended
            return _after_failure(CancelledInsideError(), delivery, job)
        except Exception as error:  # noqa: BLE001 - whatever the handler raises, or its commit
            if attempt.interrupted and is_transient(error):
                verdict = _after_interruption(attempt, error, delivery)
            else:
                verdict = _after_failure(error, delivery, job)
            return verdict
        try:
            return Completed(_encode(handler, value))
        except Exception as error:  # noqa: BLE001 - any serializer's; the work is done, once
            return Dead(reason=DeadReason.REJECTED, failure=JobFailure.of(error))

    async def _call(
        self, attempt: _Attempt, handler: JobHandler[Any, Any], arguments: dict[str, Any]
    ) -> Any:
        """Call the handler with its services; it is cancelled when its time is over."""
        limit = attempt.context.job.options.timeout
        timer = None
        if limit is not None:
            # Not `asyncio.timeout`, which takes six times as long for what is needed here.
            timer = asyncio.get_running_loop().call_later(limit.total_seconds(), attempt.expire)
        try:
            if not handler.services:
                return await self._invoke(handler, arguments)
            repeats = Repeats()
            while True:
                try:
                    async with WorkScope(self._container) as scope:
                        for name, kind in handler.services.items():
                            arguments[name] = await scope.get(kind)
                        return await self._invoke(handler, arguments)
                except Exception as error:
                    pause = None if attempt.interrupted else repeats.pause_after(error)
                    if pause is None:
                        raise
                    logger.warning("Job is done again: {}", error)
                await asyncio.sleep(pause)
                # A handler may have changed what it was given.
                arguments = _arguments(handler, attempt.context.job, attempt.context)
        finally:
            if timer:
                timer.cancel()

    async def _invoke(self, handler: JobHandler[Any, Any], arguments: dict[str, Any]) -> Any:
        try:
            if handler.is_async:
                return await handler.function(**arguments)
            work = partial(in_context(handler.function), **arguments)
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except SystemExit as error:  # it would end the worker, with all jobs that run there
            message = f"the handler wanted to end the process ({error.code})"
            raise ExitInsideError(message) from error

    def _dead(self, delivery: Delivery, reason: DeadReason, message: str) -> Dead:
        failure = delivery.last_failure or JobFailure(type="", message="")
        if reason is not DeadReason.STALLED or not delivery.failures:
            failure = JobFailure(type=reason.value.capitalize(), message=message)
        name = delivery.job.name if delivery.job else "?"
        known = {"id": delivery.id, "name": name, "queue": delivery.queue}
        event = JobDied(**known, attempt=delivery.starts - 1, reason=reason, failure=failure)
        self._events.tell(event)
        return Dead(reason=reason, failure=failure)


def _arguments(handler: JobHandler[Any, Any], job: Job, context: JobContext) -> dict[str, Any]:
    """Return the arguments that do not come from the container.

    Raises:
        ValidationError: the payload is not what the handler declares.
    """
    arguments: dict[str, Any] = {}
    if handler.payload and handler.payload_parameter:
        arguments[handler.payload_parameter] = handler.payload.validate_json(
            job.body, **EITHER_NAME
        )
    if handler.context_parameter:
        arguments[handler.context_parameter] = context
    return arguments


def _encode(handler: JobHandler[Any, Any], value: Any) -> str:
    """Return the result as JSON.

    Raises:
        PydanticSerializationError: it is not what the handler declares, or can't be written.
    """
    if value is None:
        return "null"
    return handler.result.dump_json(value, warnings="error").decode()


def _after_interruption(attempt: _Attempt, error: BaseException, delivery: Delivery) -> Verdict:
    """Say what becomes of an attempt that was interrupted on purpose."""
    job = attempt.context.job
    if attempt.cancelled:
        return Dead(reason=DeadReason.CANCELLED, failure=JobFailure.of(error))
    if attempt.given_back:
        return GiveBack()
    limit = job.options.timeout or timedelta()
    message = f"the attempt took longer than {limit.total_seconds():g} s"
    return _after_failure(AttemptTimeoutError(message), delivery, job)


def _after_failure(error: Exception, delivery: Delivery, job: Job) -> Verdict:
    """Decide between another attempt and giving up."""
    kept = error.cause if isinstance(error, RejectJobError) else None
    failure = JobFailure.of(kept or error)
    if isinstance(error, AppError) and not error.repeatable:
        return Dead(reason=DeadReason.REJECTED, failure=failure)
    if delivery.starts >= job.options.attempts:
        return Dead(reason=DeadReason.ATTEMPTS, failure=failure)
    if isinstance(error, RetryJobError) and error.after is not None:
        return Retry(after=timedelta(seconds=max(error.after, 0)), failure=failure)
    return Retry(after=job.options.backoff.pause(delivery.starts), failure=failure)


def _age(job: Job) -> float:
    """Return the seconds since a job was published; clocks may differ a little."""
    return max(time.time() - job.created_at.timestamp(), 0.0)


async def _absorb(task: asyncio.Task[Any]) -> None:
    """Take in a cancellation that came when the handler had already ended.

    It would strike at the next `await`: in the middle of telling the broker.
    """
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    while task.cancelling():
        task.uncancel()
