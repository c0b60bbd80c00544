"""What can go wrong with a computation, and how the worker's error becomes the caller's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

from app.core.errors import AppError
from app.infrastructure.queue import (
    InvalidJobError,
    JobCancelledError,
    JobFailedError,
    JobFailure,
    JobTimeoutError,
    QueueError,
    RejectJobError,
    RetryJobError,
)


class NotStartedError(AppError):
    """A @compute method was called where no service runs."""


class NotComputableError(AppError, TypeError):
    """No module provides the object whose @compute method was called."""


class ValueTooLargeError(InvalidJobError):
    """The arguments or the result of a computation are too large."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class ComputeTimeoutError(JobTimeoutError):
    """The computation was not done in time, and is cancelled."""


NOT_THE_CALLERS = (
    AppError,
    QueueError,
    ComputeTimeoutError,
    JobCancelledError,
    JobFailedError,
    JobTimeoutError,
    RejectJobError,
    RetryJobError,
)
"""They say something about a job, which is not the caller's, or nothing at all."""


def as_raised(error: JobFailedError) -> AppError:
    """Return the error a worker raised, or `error` itself where that can't be had.

    The name that came with the job is only looked up among the errors this process has: no class is
    built from it. Of a class with a constructor of its own it is the nearest base without one.
    """
    kind = _local(error.failure) if error.failure else None
    if error.failure is None or kind is None:
        return error
    raised = kind(error.failure.message)
    raised.transient = False  # it has been done again: who called it need not
    for note in getattr(error, "__notes__", ()):
        raised.add_note(note)
    return raised


def _local(failure: JobFailure) -> type[AppError] | None:
    known = list(_subclasses(AppError))
    if Counter(kind.__name__ for kind in known)[failure.type] != 1:  # none, or nobody knows which
        return None
    kind = next(kind for kind in known if kind.__name__ == failure.type)
    if kind in NOT_THE_CALLERS:
        return None
    plain = (
        base
        for base in kind.__mro__
        if issubclass(base, AppError) and base.__init__ is AppError.__init__
    )
    found = next(plain, AppError)
    return None if found in NOT_THE_CALLERS else found


def _subclasses(kind: type[AppError]) -> Iterator[type[AppError]]:
    """Yield each once, whatever number of bases leads to it."""
    pending, seen = [kind], {kind}
    while pending:
        for found in pending.pop().__subclasses__():
            if found not in seen:
                seen.add(found)
                pending.append(found)
                yield found
