"""What happens to users, as typed facts."""

from __future__ import annotations

from uuid import UUID

from loguru import logger
from pydantic import BaseModel, ConfigDict


class UserEvent(BaseModel):
    """Something that has happened to one user. Carries no personal data but the id."""

    model_config = ConfigDict(frozen=True)

    user_id: UUID


class UserCreated(UserEvent):
    """A user was created."""


class UserUpdated(UserEvent):
    """A user was changed."""

    changed: tuple[str, ...]
    """Names of the changed fields, never their values."""


class UserDeleted(UserEvent):
    """A user was deleted."""


def record(event: UserEvent) -> None:
    """Write the event to the log; called after the commit, so it tells only of what lasts."""
    logger.bind(event=event.model_dump(mode="json")).info("{}", type(event).__name__)
