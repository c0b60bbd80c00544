"""What can go wrong with the outbox and the inbox."""

from __future__ import annotations

from app.core.errors import AppError


class NoUnitOfWorkError(AppError):
    """This has to happen inside a unit of work: a request, a job, or `Database.unit_of_work()`."""
