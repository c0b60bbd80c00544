"""What can be done with users."""

from __future__ import annotations

from uuid import UUID

from dishka import AsyncContainer
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.discovery import Registry
from app.core.errors import PreconditionFailedError
from app.core.events import Events
from app.infrastructure.database import (
    CursorPage,
    CursorParams,
    DuplicateError,
    Page,
    PageParams,
    read_only,
)
from app.modules.users.events import UserDeleted, UserEvent, UserRegistered, UserUpdated
from app.modules.users.models import User
from app.modules.users.passwords import PasswordHasher
from app.modules.users.ports import DeletedWithUser
from app.modules.users.repository import UserRepository
from app.modules.users.schemas import UserCreate, UserFilters, UserPatch


class EmailTakenError(DuplicateError):
    """Another user has this email address."""


class UserService:
    """Creates, finds, changes and deletes users. The caller's unit of work commits."""

    def __init__(
        self,
        session: AsyncSession,
        users: UserRepository,
        passwords: PasswordHasher,
        events: Events,
        scope: AsyncContainer,
    ) -> None:
        """Work in the unit of work of `session`, which is that of `scope`."""
        self._scope = scope
        self._session = session
        self._users = users
        self._passwords = passwords
        self._events = events

    async def page(self, params: PageParams, filters: UserFilters) -> Page[User]:
        """Return one page of users."""
        async with read_only(self._session):
            return await self._users.page(params, **filters.model_dump())

    async def cursor_page(self, params: CursorParams, filters: UserFilters) -> CursorPage[User]:
        """Return one stretch of users from a cursor on."""
        async with read_only(self._session):
            return await self._users.cursor_page(params, **filters.model_dump())

    async def get(self, identifier: UUID) -> User:
        """Return a user.

        Raises:
            NotFoundError: there is none.
        """
        return await self._users.get(identifier)

    async def create(self, data: UserCreate) -> User:
        """Create a user.

        Raises:
            EmailTakenError: the address belongs to another user.
        """
        password_hash = await self._passwords.hash(data.password)
        user = User(email=data.email, name=data.name, password_hash=password_hash)
        try:
            await self._users.add(user)
        except DuplicateError as error:
            raise EmailTakenError from error
        await self._announce(UserRegistered(user_id=user.id))
        return user

    async def update(
        self, identifier: UUID, patch: UserPatch, expected_version: int | None = None
    ) -> User:
        """Change what the patch holds.

        Args:
            identifier: whom to change.
            patch: only fields that were sent are changed.
            expected_version: refuse if the user has another version by now.

        Raises:
            NotFoundError: there is no such user.
            EmailTakenError: the address belongs to another user.
            PreconditionFailedError: the version is another one.
        """
        user = await self._expected(identifier, expected_version)
        values = patch.model_dump(exclude_unset=True, exclude={"password"})
        if "password" in patch.model_fields_set:
            values["password_hash"] = await self._passwords.hash(patch.password)
        try:
            await self._users.update(user, **values)
        except DuplicateError as error:
            raise EmailTakenError from error
        changed = tuple(sorted(patch.model_fields_set))
        await self._announce(UserUpdated(user_id=user.id, changed=changed))
        return user

    async def delete(self, identifier: UUID, expected_version: int | None = None) -> None:
        """Delete a user. The row stays, marked; the address may be used again.

        Raises:
            NotFoundError: there is no such user.
            PreconditionFailedError: the version is another one.
        """
        user = await self._expected(identifier, expected_version)
        for item in (await self._scope.get(Registry)).contributions(DeletedWithUser):
            await item.run(self._scope, user.id)
        await self._users.delete(user)
        await self._announce(UserDeleted(user_id=user.id))

    async def _expected(self, identifier: UUID, version: int | None) -> User:
        user = await self._users.get(identifier)
        if version is not None and user.version != version:
            raise PreconditionFailedError
        return user

    async def _announce(self, event: UserEvent) -> None:
        await self._events.publish(event, key=f"user:{event.user_id}")
