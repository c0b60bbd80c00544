"""Users in the database."""

from __future__ import annotations

from dataclasses import dataclass

from loguru import logger
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import NotFoundError
from app.modules.example.models import User


@dataclass(frozen=True, slots=True)
class UserChanges:
    """What is to be different."""

    name: str


class UserRepository:
    """Rows of the table. Nothing here knows that it may be called by a worker."""

    def __init__(self, session: AsyncSession) -> None:
        """Work in the unit of work of `session`: the request's, or the job's."""
        self._session = session

    async def get(self, identifier: int) -> User:
        """Return a user.

        Raises:
            NotFoundError: there is none.
        """
        user = await self._session.get(User, identifier)
        if user is None:
            message = f"There is no user {identifier}."
            raise NotFoundError(message)
        return user

    async def update(self, identifier: int, changes: UserChanges) -> None:
        """Change a user.

        Raises:
            NotFoundError: there is none.
        """
        (await self.get(identifier)).name = changes.name
        logger.info("User {} is updated", identifier)
