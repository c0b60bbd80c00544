"""Users in the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.infrastructure.database import Filter, Repository, at_least, before, contains, equals
from app.modules.users.models import User


class UserRepository(Repository[User]):
    """Rows of the users table."""

    model = User
    filters: ClassVar[Mapping[str, Filter]] = {
        "email": equals(User.email),
        "name_contains": contains(User.name),
        "is_active": equals(User.is_active),
        "created_from": at_least(User.created_at),
        "created_before": before(User.created_at),
    }
    sortable: ClassVar[tuple[str, ...]] = ("created_at", "email", "name")

    async def by_email(self, email: str) -> User | None:
        """Return the user with that address (in lower case), or None."""
        return await self.first(User.email == email)
