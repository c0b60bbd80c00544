"""The errors of the service.

A class holds the HTTP status and the problem type (RFC 9457); its docstring's first line is the
default message. The API turns any of them into `application/problem+json`.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, ClassVar


class AppError(Exception):
    """Something went wrong on our side."""

    status: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR
    """HTTP status code of the answer."""
    repeatable: ClassVar[bool] = True
    """Whether another try may help. A job that ends with one that says no is given up at once."""
    transient: bool = False
    """Whether another transaction was in the way: jobs and handlers of events that have services
    are done again at once, and that counts as no attempt."""

    def __init__(
        self,
        detail: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        """Keep what the client may know.

        Args:
            detail: a sentence for the client about this occurrence; by default the docstring.
            headers: added to the HTTP answer, such as `Retry-After`.
            extensions: additional members of the problem document (RFC 9457 §3.2).
        """
        self.detail = detail or self.default_detail()
        self.headers = headers or {}
        self.extensions = extensions
        super().__init__(self.detail)

    @classmethod
    def default_detail(cls) -> str:
        """Return the first line of the class docstring."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]

    @classmethod
    def problem_type(cls) -> str:
        """Return the stable name of this kind of problem: `NotFoundError` is `not-found`."""
        name = cls.__name__.removesuffix("Error")
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()

    @classmethod
    def title(cls) -> str:
        """Return the problem type as words."""
        return cls.problem_type().replace("-", " ").capitalize()


class BadRequestError(AppError):
    """The request can't be understood."""

    status = HTTPStatus.BAD_REQUEST


class UnauthorizedError(AppError):
    """Valid credentials are required."""

    status = HTTPStatus.UNAUTHORIZED


class ForbiddenError(AppError):
    """You are not allowed to do this."""

    status = HTTPStatus.FORBIDDEN


class NotFoundError(AppError):
    """There is no such thing here."""

    status = HTTPStatus.NOT_FOUND


class ConflictError(AppError):
    """The request contradicts the present state."""

    status = HTTPStatus.CONFLICT


class PreconditionFailedError(AppError):
    """It has changed since you read it. Read it again, then repeat the change."""

    status = HTTPStatus.PRECONDITION_FAILED


class ContentTooLargeError(AppError):
    """The request body is too large."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnprocessableError(AppError):
    """The request is well formed, but a value in it is not acceptable."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class ServiceUnavailableError(AppError):
    """A part the request needs is not available. Try again in a moment."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class ConfigurationError(Exception):
    """The service can't start as it is configured. The message says what to change."""
