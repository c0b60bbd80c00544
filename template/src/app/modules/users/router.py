"""The HTTP interface of users."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from dishka import FromDishka
from fastapi import APIRouter, Header, Query, Response, status

from app.core.conditional import NOT_MODIFIED, ETag
from app.core.errors import NotFoundError, PreconditionFailedError
from app.core.problems import problem_responses
from app.core.routing import ScopedRoute
from app.infrastructure.database import CursorPage, Page, StaleVersionError
from app.modules.users.schemas import (
    UserCreate,
    UserCursorQuery,
    UserPageQuery,
    UserPatch,
    UserRead,
    parse_etag,
)
from app.modules.users.service import EmailTakenError, UserService

router = APIRouter(prefix="/users", tags=["users"], route_class=ScopedRoute)

IfMatch = Annotated[
    str | None,
    Header(description="The `ETag` the change is based on; refused with 412 when outdated."),
]
IfNoneMatch = Annotated[
    str | None,
    Header(description="An `ETag` you have; the answer is 304, without a body, if it is still so."),
]
_CHANGES = (NotFoundError, PreconditionFailedError, StaleVersionError)


@router.get("")
async def list_users(
    query: Annotated[UserPageQuery, Query()], users: FromDishka[UserService]
) -> Page[UserRead]:
    """List users, page by page."""
    page = await users.page(query.params(), query.filters())
    return page.map(UserRead.model_validate)


@router.get("/stream")
async def list_users_by_cursor(
    query: Annotated[UserCursorQuery, Query()], users: FromDishka[UserService]
) -> CursorPage[UserRead]:
    """List users from a cursor on: for programs that read all of them."""
    page = await users.cursor_page(query.params(), query.filters())
    return page.map(UserRead.model_validate)


@router.post("", status_code=status.HTTP_201_CREATED, responses=problem_responses(EmailTakenError))
async def create_user(
    data: UserCreate, users: FromDishka[UserService], response: Response
) -> UserRead:
    """Create a user."""
    user = UserRead.model_validate(await users.create(data))
    response.headers["Location"] = f"{router.prefix}/{user.id}"
    return _tagged(user, response)


@router.get("/{user_id}", responses=problem_responses(NotFoundError) | NOT_MODIFIED)
async def get_user(
    user_id: UUID,
    users: FromDishka[UserService],
    response: Response,
    if_none_match: IfNoneMatch = None,  # noqa: ARG001 - read by the route, documented here
) -> UserRead:
    """Get a user."""
    return _tagged(UserRead.model_validate(await users.get(user_id)), response)


@router.patch("/{user_id}", responses=problem_responses(*_CHANGES, EmailTakenError))
async def update_user(
    user_id: UUID,
    patch: UserPatch,
    users: FromDishka[UserService],
    response: Response,
    if_match: IfMatch = None,
) -> UserRead:
    """Change a user; what is left out stays."""
    user = await users.update(user_id, patch, parse_etag(if_match))
    return _tagged(UserRead.model_validate(user), response)


@router.delete(
    "/{user_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(*_CHANGES),
)
async def delete_user(
    user_id: UUID, users: FromDishka[UserService], if_match: IfMatch = None
) -> None:
    """Delete a user."""
    await users.delete(user_id, parse_etag(if_match))


def _tagged(user: UserRead, response: Response) -> UserRead:
    response.headers["ETag"] = str(ETag.of(user.version))
    return user
