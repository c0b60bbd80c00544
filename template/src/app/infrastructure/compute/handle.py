"""What the caller of a method with `wait=False` holds."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

from app.infrastructure.compute.catalog import ComputeMethod
from app.infrastructure.compute.errors import as_raised
from app.infrastructure.compute.values import Packed, Values, parse
from app.infrastructure.queue import JobFailedError, JobHandle, JobRecord, JobState
from app.infrastructure.queue.engine import JobEngine

ResultT = TypeVar("ResultT")


class ComputeHandle(JobHandle[ResultT], Generic[ResultT]):
    """The handle of one computation: its result has the type the method says."""

    def __init__(
        self, engine: JobEngine, method: ComputeMethod, job_id: str, values: Values
    ) -> None:
        """Know the job; nothing is asked yet."""
        super().__init__(engine, method.options.queue, job_id, None)
        self._method = method
        self._values = values
        self.packed: Packed | None = None
        """The result as it came, once it was asked for."""

    async def result(self, *, timeout: float | None = None) -> ResultT:  # noqa: ASYNC109 - as `JobHandle`
        """Wait for its end and return what the method returned.

        Args:
            timeout: seconds; None: as long as it takes.

        Raises:
            AppError: what the method raised, where this process has an error of that name.
            JobFailedError: it failed otherwise; with the worker's traceback.
            JobCancelledError, JobTimeoutError, UnknownJobError, QueueUnavailableError: as
                `JobHandle.result`.
        """
        try:
            self.packed = parse(await super().result(timeout=timeout))
        except JobFailedError as error:
            raised = as_raised(error)
            if raised is error:
                raise
            raise raised from None
        return cast("ResultT", self._method.read(await self._values.unpack(self.packed)))


class InlineHandle(JobHandle[ResultT], Generic[ResultT]):
    """The handle of what was computed in place."""

    def __init__(self, queue: str, job_id: str, outcome: ResultT | Exception) -> None:
        """Hold what came of it."""
        super().__init__(cast("JobEngine", None), queue, job_id, None)
        self._outcome = outcome

    async def record(self) -> JobRecord:
        """Return that it has ended."""
        failed = isinstance(self._outcome, Exception)
        state = JobState.DEAD if failed else JobState.COMPLETED
        return JobRecord(id=self.id, queue=self.queue, state=state, starts=1, attempts=1)

    async def result(self, *, timeout: float | None = None) -> ResultT:  # noqa: ARG002, ASYNC109 - as `JobHandle`
        """Return what it returned, or raise what it raised."""
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    async def cancel(self) -> bool:
        """Return False: it has ended."""
        return False
