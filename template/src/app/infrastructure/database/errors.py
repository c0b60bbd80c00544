"""Turn what drivers raise into the service's errors."""

from __future__ import annotations

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from app.core.errors import AppError, ConflictError, ServiceUnavailableError

UNIQUE_VIOLATION = "23505"
FOREIGN_KEY_VIOLATION = "23503"
SERIALIZATION_FAILURE = "40001"
DEADLOCK_DETECTED = "40P01"
LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"
"""SQLSTATE codes (PostgreSQL documentation, appendix A)."""


class DatabaseUnavailableError(ServiceUnavailableError):
    """The database can't be reached at the moment."""


class TransientDatabaseError(ServiceUnavailableError):
    """Another transaction was in the way. Repeat the request."""

    transient = True


class StatementTimeoutError(ServiceUnavailableError):
    """The database took too long."""


class DuplicateError(ConflictError):
    """Something with this value exists already."""


class ReferenceViolationError(ConflictError):
    """Something else refers to this, or this refers to something that is gone."""


class StaleVersionError(ConflictError):
    """Somebody else changed it in the meantime. Read it again, then repeat the change."""


class ReadOnlyError(RuntimeError):
    """A write inside read_only(): move it out of the block, or use transaction() instead."""


_BY_SQLSTATE: dict[str, type[AppError]] = {
    UNIQUE_VIOLATION: DuplicateError,
    FOREIGN_KEY_VIOLATION: ReferenceViolationError,
    SERIALIZATION_FAILURE: TransientDatabaseError,
    DEADLOCK_DETECTED: TransientDatabaseError,
    LOCK_NOT_AVAILABLE: TransientDatabaseError,
    QUERY_CANCELED: StatementTimeoutError,
}
_BY_SQLITE_MESSAGE: dict[str, type[AppError]] = {
    "UNIQUE constraint failed": DuplicateError,
    "FOREIGN KEY constraint failed": ReferenceViolationError,
    "database is locked": TransientDatabaseError,
    "database table is locked": TransientDatabaseError,
}
RETRY_SOON = {"Retry-After": "1"}


def translate(error: BaseException) -> AppError | None:
    """Return the service's error for what SQLAlchemy or a driver raised; None if it has none.

    The message never repeats the driver's: that quotes statements and values.
    """
    if isinstance(error, AppError):
        return None
    if isinstance(error, StaleDataError):
        return StaleVersionError()
    return _from_driver(getattr(error, "orig", None) or error)


def _from_driver(original: BaseException) -> AppError | None:
    kind = _BY_SQLSTATE.get(str(getattr(original, "sqlstate", None)))
    if kind is None:
        text = str(original)
        kind = next((k for start, k in _BY_SQLITE_MESSAGE.items() if text.startswith(start)), None)
    if kind is None:
        return None
    headers = dict(RETRY_SOON) if issubclass(kind, ServiceUnavailableError) else None
    return kind(headers=headers)


def replace_driver_error(context: ExceptionContext) -> None:
    """Raise the service's error in place of the driver's: an engine's `handle_error` listener.

    Other integrity errors (a value missing, a check failed) are mistakes of the code: they stay.
    """
    if not isinstance(context.original_exception, Exception):
        return  # a cancellation, which SQLAlchemy calls a disconnect, stays one
    if context.is_pre_ping:
        return  # the pool tries whether a connection still works, and opens another one
    if context.is_disconnect:
        raise DatabaseUnavailableError(headers=dict(RETRY_SOON)) from context.original_exception
    error = context.sqlalchemy_exception
    translated = translate(error or context.original_exception)
    if translated is not None:
        raise translated from (
            error if isinstance(error, IntegrityError) else context.original_exception
        )
