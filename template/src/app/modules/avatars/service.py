"""What can be done with avatars."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from dishka import AsyncContainer
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.discovery import Registry
from app.core.ids import IdFactory
from app.infrastructure.database import after_commit, after_rollback
from app.infrastructure.storage import FileStorage, Source, file_key
from app.infrastructure.storage.content import Content
from app.modules.avatars.errors import NoAvatarError
from app.modules.avatars.models import Avatar
from app.modules.avatars.pictures import CONTENT_TYPE, Pictures
from app.modules.avatars.ports import AfterAvatar
from app.modules.avatars.settings import AvatarSettings
from app.modules.users.repository import UserRepository

FOLDER = "avatars"


class AvatarService:
    """Stores, finds and deletes pictures of users. The caller's unit of work commits.

    A file is stored before its row is committed, and deleted after its row is gone: a row never
    names a file that is not there. What was stored for a row that did not come to be is deleted.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what is injected
        self,
        session: AsyncSession,
        users: UserRepository,
        storage: FileStorage,
        pictures: Pictures,
        settings: AvatarSettings,
        ids: IdFactory,
    ) -> None:
        """Work in the unit of work of `session`."""
        self._session = session
        self._users = users
        self._storage = storage
        self._pictures = pictures
        self._settings = settings
        self._ids = ids

    async def find(self, user_id: UUID) -> Avatar:
        """Return which files are the picture of a user.

        Raises:
            NoAvatarError: the user has none, or there is no such user.
        """
        avatar = await self._session.get(Avatar, user_id)
        if avatar is None:
            raise NoAvatarError
        return avatar

    async def store(self, user_id: UUID, upload: Source) -> Avatar:
        """Make the upload the picture of a user; the thumbnail comes later.

        Raises:
            NotFoundError: there is no such user.
            FileTooLargeError, PictureTooLargeError, NotAPictureError: it is not taken.
        """
        # First what takes long: from the first query on, a connection of the database is held.
        content = Content(upload, self._settings.avatar_max_size)
        data = b"".join([chunk async for chunk in content])
        picture = await self._pictures.normalised(data, self._settings.avatar_side)
        await self._users.get(user_id)
        key = file_key(FOLDER, user_id, f"{self._ids()}.webp")
        after_rollback(self._session, partial(self._storage.delete, key))
        await self._storage.put(key, picture, content_type=CONTENT_TYPE)
        avatar = await self._session.get(Avatar, user_id, with_for_update=True)
        if avatar is None:
            avatar = Avatar(user_id=user_id)
            self._session.add(avatar)
        else:
            self._delete_files(avatar)
        avatar.key, avatar.thumbnail_key = key, None
        await self._session.flush()
        return avatar

    async def make_thumbnail(self, user_id: UUID, key: str) -> None:
        """Make the thumbnail of a picture, unless another one has taken its place since."""
        avatar = await self._session.get(Avatar, user_id, with_for_update=True)
        if avatar is None or avatar.key != key or avatar.thumbnail_key:
            return
        picture = await self._storage.get(key)
        small = await self._pictures.normalised(picture, self._settings.thumbnail_side)
        thumbnail = f"{key.removesuffix('.webp')}-small.webp"
        after_rollback(self._session, partial(self._storage.delete, thumbnail))
        await self._storage.put(thumbnail, small, content_type=CONTENT_TYPE)
        avatar.thumbnail_key = thumbnail
        await self._session.flush()

    async def delete(self, user_id: UUID) -> None:
        """Delete the picture of a user, if there is one; the files go after the commit."""
        avatar = await self._session.get(Avatar, user_id, with_for_update=True)
        if avatar is not None:
            self._delete_files(avatar)
            await self._session.delete(avatar)
            await self._session.flush()

    def _delete_files(self, avatar: Avatar) -> None:
        keys = [key for key in (avatar.key, avatar.thumbnail_key) if key]
        after_commit(self._session, partial(self._storage.delete, *keys))


async def announce(scope: AsyncContainer, avatar: Avatar) -> None:
    """Do what other modules contribute, or make the thumbnail."""
    contributed = (await scope.get(Registry)).contributions(AfterAvatar)
    for item in contributed:
        await item.run(scope, avatar.user_id, avatar.key)
    if not contributed:
        await (await scope.get(AvatarService)).make_thumbnail(avatar.user_id, avatar.key)


async def delete_with_user(scope: AsyncContainer, user_id: UUID) -> None:
    """Delete the picture of a user who is deleted, in the same unit of work."""
    await (await scope.get(AvatarService)).delete(user_id)
