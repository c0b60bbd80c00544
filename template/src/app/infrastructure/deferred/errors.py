"""What can go wrong when a call is recorded. Each is raised where the call is written."""

from __future__ import annotations

from app.core.errors import AppError


class InvalidCallError(AppError, TypeError):
    """The call can't be deferred as it is written."""


class UnknownMethodError(InvalidCallError, AttributeError):
    """There is no such method, or none that may be deferred."""
