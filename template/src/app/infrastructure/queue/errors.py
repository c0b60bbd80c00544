"""What can go wrong with jobs, and what their users see of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from app.core.errors import AppError

if TYPE_CHECKING:
    from app.infrastructure.queue.jobs import DeadReason, JobFailure


class QueueError(AppError):
    """The job queue failed."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


class InvalidJobError(QueueError, ValueError):
    """The job can't be published as it is."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class QueueUnavailableError(QueueError):
    """The job queue can't be reached at the moment. Whether the job was taken is not known."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class BrokenRecordError(QueueUnavailableError):
    """A key of the job queue holds something else: somebody wrote over it."""


class UnknownJobError(QueueError):
    """There is no such job, or no longer."""

    status = HTTPStatus.NOT_FOUND


class JobFailedError(QueueError):
    """The job failed for good."""

    def __init__(
        self, detail: str | None = None, *, failure: JobFailure | None, reason: DeadReason | None
    ) -> None:
        """Say how it failed.

        Args:
            detail: a sentence.
            failure: the last error: its type, message and traceback, as text.
            reason: why the job was given up.
        """
        super().__init__(detail)
        self.failure = failure
        self.reason = reason


class JobCancelledError(QueueError):
    """The job was cancelled."""

    status = HTTPStatus.CONFLICT


class JobTimeoutError(QueueError, TimeoutError):
    """The result was not there in time. The job goes on."""

    status = HTTPStatus.GATEWAY_TIMEOUT


class AttemptTimeoutError(QueueError, TimeoutError):
    """The attempt took longer than its timeout allows."""


class CancelledInsideError(QueueError):
    """The handler awaited something that somebody else had cancelled."""


class ExitInsideError(QueueError):
    """The handler wanted to end the process, as a program does that is called as a function."""


class RejectJobError(QueueError):
    """Raise it in a handler when another attempt can't help: the job is dead at once."""

    repeatable = False

    def __init__(self, detail: str | None = None, *, cause: Exception | None = None) -> None:
        """Give the job up.

        Args:
            detail: a sentence.
            cause: the error to keep as the job's failure; None: this one.
        """
        super().__init__(detail)
        self.cause = cause


class RetryJobError(QueueError):
    """Raise it in a handler to have the job repeated after a pause of your choice."""

    def __init__(self, message: str = "", *, after: float | None = None) -> None:
        """Ask for another attempt.

        Args:
            message: why.
            after: seconds to wait; None: as the job's backoff says.
        """
        super().__init__(message or None)
        self.after = after
