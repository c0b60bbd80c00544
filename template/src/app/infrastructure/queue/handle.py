"""What the publisher of a job holds: a look at it, its result, and a way to stop it."""

from __future__ import annotations

import json
from typing import Any, Generic, TypeVar

from app.core.json_names import EITHER_NAME
from app.infrastructure.queue.codec import ResultCodec
from app.infrastructure.queue.engine import JobEngine
from app.infrastructure.queue.errors import (
    InvalidJobError,
    JobCancelledError,
    JobFailedError,
    UnknownJobError,
)
from app.infrastructure.queue.jobs import DeadReason, JobRecord, JobState

ResultT = TypeVar("ResultT")


class JobHandle(Generic[ResultT]):
    """One published job. It works in any process: `JobQueue.handle` makes one from an id."""

    def __init__(
        self, engine: JobEngine, queue: str, job_id: str, result: ResultCodec[ResultT] | None
    ) -> None:
        """Know the job; nothing is asked yet.

        Args:
            engine: where it is.
            queue: the queue it is in.
            job_id: its id.
            result: reads the result; None: it stays what JSON says.
        """
        self._engine = engine
        self.queue = queue
        self.id = job_id
        self._result = result

    def __repr__(self) -> str:
        """Return what identifies it."""
        return f"JobHandle(queue={self.queue!r}, id={self.id!r})"

    async def record(self) -> JobRecord:
        """Return everything that is known of the job.

        Raises:
            UnknownJobError: nothing is, or no longer.
            QueueUnavailableError: the queue can't be asked.
        """
        found = await self._engine.find(self.queue, self.id)
        if found is None:
            raise unknown(self.queue, self.id)
        return found

    async def state(self) -> JobState:
        """Return where it is; raises as `record` does."""
        return (await self.record()).state

    async def progress(self) -> Any:
        """Return what its handler said last, None before that; raises as `record` does."""
        return (await self.record()).progress

    async def result(self, *, timeout: float | None = None) -> ResultT:  # noqa: ASYNC109 - a call's own bound
        """Wait for its end and return what the handler returned.

        Args:
            timeout: seconds; 0: look once; None: as long as it takes.

        Raises:
            JobFailedError: it is dead; `failure` and `reason` say how.
            JobCancelledError: it was cancelled.
            JobTimeoutError: it has not ended in time. It goes on.
            UnknownJobError: it is not there, or no longer.
            QueueUnavailableError: the queue can't be asked.
        """
        record = await self._engine.ended(self.queue, self.id, timeout)
        if record.state is JobState.DEAD:
            raise _failed(record)
        if self._result is None:
            return record.result  # type: ignore[no-any-return]  # untyped handles hold Any
        # As JSON again: a strict model takes a text for a UUID from JSON alone.
        return self._result.validate_json(json.dumps(record.result), **EITHER_NAME)

    async def cancel(self) -> bool:
        """Cancel it: at once if it waits, at its next `await` if it runs.

        Returns:
            Whether there was something to cancel.

        Raises:
            QueueUnavailableError: the queue can't be told.
        """
        return await self._engine.cancel(self.queue, self.id)


def unknown(queue: str, job_id: str) -> UnknownJobError:
    """Return the error about a job nothing is known of."""
    message = f"queue {queue!r} knows no job {job_id!r}: results are kept for a while only"
    return UnknownJobError(message)


def already_published(job_id: str) -> InvalidJobError:
    """Return the error about a child that is not new."""
    message = (
        f"job {job_id!r} was published before: publish_after needs jobs of its own to wait for"
    )
    return InvalidJobError(message)


def _failed(record: JobRecord) -> Exception:
    if record.reason is DeadReason.CANCELLED:
        message = f"job {record.name} {record.id} was cancelled"
        return JobCancelledError(message)
    failure = record.last_failure
    message = f"job {record.name} {record.id} failed ({record.reason}): {failure}"
    error = JobFailedError(message, failure=failure, reason=record.reason)
    if failure and failure.traceback:
        error.add_note(f"In the worker:\n{failure.traceback}")
    return error
