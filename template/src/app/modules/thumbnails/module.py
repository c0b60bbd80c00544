"""The thumbnails module."""

from __future__ import annotations

from uuid import UUID

from dishka import AsyncContainer
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.discovery import Registry
from app.core.module import Module
from app.infrastructure.database import after_commit
from app.infrastructure.deferred import Deferrable, Tasks
from app.infrastructure.deferred.ports import Detour
from app.modules.avatars.ports import AfterAvatar
from app.modules.avatars.service import AvatarService


async def later(scope: AsyncContainer, user_id: UUID, key: str) -> None:
    """Have the thumbnail made in a worker, once the picture is committed.

    Where jobs leave with the commit, such as through an outbox, this one does. Elsewhere it is
    published after it, and a crash between the two leaves a picture without thumbnail.
    """
    tasks = await scope.get(Tasks)

    async def publish() -> None:
        await tasks.run_later(lambda run: run(AvatarService).make_thumbnail(user_id, key))

    if (await scope.get(Registry)).contributions(Detour):
        await publish()
    else:
        after_commit(await scope.get(AsyncSession), publish)


module = Module(
    name="thumbnails",
    summary="Thumbnails of avatars, made in a worker",
    requires=("avatars", "deferred", "database"),
    contributes=(AfterAvatar(later), Deferrable(AvatarService)),
)
