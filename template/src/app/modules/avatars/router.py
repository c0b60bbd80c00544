"""The HTTP interface of avatars."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from dishka import FromDishka
from fastapi import APIRouter, Query, Request, Response, status
from starlette.requests import ClientDisconnect

from app.core.errors import BadRequestError, NotFoundError
from app.core.problems import problem_responses
from app.core.routing import ScopedRoute
from app.infrastructure.storage import FileStorage, StorageUnavailableError, file_response
from app.modules.avatars.errors import NoAvatarError, NotAPictureError, PictureTooLargeError
from app.modules.avatars.pictures import CONTENT_TYPE
from app.modules.avatars.service import AvatarService, announce

LARGEST_BODY = 50 * 1024 * 1024
"""Bytes; `AVATAR_MAX_SIZE`, which is no more, counts."""
PICTURE = {"schema": {"type": "string", "format": "binary"}}

router = APIRouter(prefix="/users/{user_id}/avatar", tags=["avatars"], route_class=ScopedRoute)


class Size(StrEnum):
    """Which of the pictures."""

    FULL = "full"
    THUMBNAIL = "thumbnail"
    """The full one as long as there is no other."""


@router.put(
    "",
    status_code=status.HTTP_204_NO_CONTENT,
    max_body_size=LARGEST_BODY,
    responses=problem_responses(
        NotFoundError, NotAPictureError, PictureTooLargeError, StorageUnavailableError
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": dict.fromkeys(("image/png", "image/jpeg", "image/webp"), PICTURE),
        }
    },
)
async def put_avatar(user_id: UUID, request: Request, avatars: FromDishka[AvatarService]) -> None:
    """Give a user a picture: the body is the PNG, JPEG or WebP file itself."""
    try:
        avatar = await avatars.store(user_id, request.stream())
    except ClientDisconnect as error:
        message = "The picture did not arrive whole. Nothing of it was kept."
        raise BadRequestError(message) from error
    await announce(request.state.dishka_container, avatar)


@router.get(
    "",
    response_class=Response,
    responses={
        200: {"content": {CONTENT_TYPE: PICTURE}},
        **problem_responses(NoAvatarError, StorageUnavailableError),
    },
)
async def get_avatar(
    user_id: UUID,
    request: Request,
    avatars: FromDishka[AvatarService],
    storage: FromDishka[FileStorage],
    size: Annotated[Size, Query()] = Size.FULL,
) -> Response:
    """Get the picture of a user."""
    avatar = await avatars.find(user_id)
    small = avatar.thumbnail_key if size is Size.THUMBNAIL else None
    return await file_response(storage, small or avatar.key, request)


@router.delete("", status_code=status.HTTP_204_NO_CONTENT)
async def delete_avatar(user_id: UUID, avatars: FromDishka[AvatarService]) -> None:
    """Delete the picture of a user, if there is one."""
    await avatars.delete(user_id)
