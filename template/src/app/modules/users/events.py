"""What happens to users, as typed facts."""

from __future__ import annotations

from uuid import UUID

from app.core.events import Event


class UserEvent(Event):
    """Something that has happened to one user. Carries no personal data but the id."""

    user_id: UUID


class UserRegistered(UserEvent):
    """A user was created."""

    name = "user.registered"


class UserUpdated(UserEvent):
    """A user was changed."""

    name = "user.updated"

    changed: tuple[str, ...]
    """Names of the changed fields, never their values."""


class UserDeleted(UserEvent):
    """A user was deleted."""

    name = "user.deleted"
