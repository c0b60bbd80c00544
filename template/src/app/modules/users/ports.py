"""What another module may do for users. They work without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from dishka import AsyncContainer


@dataclass(frozen=True, slots=True)
class DeletedWithUser:
    """Deletes what belongs to a user who is deleted, in the same unit of work.

    `run` gets the scope and the user's id; what it raises keeps the user.
    """

    run: Callable[[AsyncContainer, UUID], Awaitable[None]]
