"""The routes that signed URLs of this service lead to."""

from __future__ import annotations

from typing import Annotated

from dishka import FromDishka
from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from app.core.errors import PreconditionFailedError
from app.core.problems import problem_responses
from app.core.routing import ScopedRoute
from app.infrastructure.storage.errors import (
    FileTooLargeError,
    InvalidDetailsError,
    InvalidSignatureError,
    RangeNotSatisfiableError,
    StorageUnavailableError,
    StoredFileNotFoundError,
    UploadInterruptedError,
)
from app.infrastructure.storage.serving import file_response
from app.infrastructure.storage.signing import PATH, Grant
from app.infrastructure.storage.storage import FileStorage

LARGEST_BODY = 1 << 50
"""Bytes. What counts is what was signed, and `FILE_STORAGE_MAX_SIZE`."""
LONGEST_WORD = 255

router = APIRouter(prefix=PATH, tags=["storage"], route_class=ScopedRoute)


class Signed(BaseModel):
    """What a signed URL says beside the key."""

    expires: int = Field(ge=0, le=1 << 40, description="Seconds since 1970.")
    signature: str = Field(max_length=LONGEST_WORD)


class SignedForUpload(Signed):
    """What one for an upload says."""

    type: str = Field(max_length=LONGEST_WORD, description="The content type it must have.")
    max: int = Field(ge=0, le=LARGEST_BODY, description="Bytes it may have.")


@router.head("/{key:path}", include_in_schema=False)
@router.get(
    "/{key:path}",
    operation_id="files_download",
    response_class=Response,
    responses=problem_responses(
        InvalidSignatureError,
        StoredFileNotFoundError,
        PreconditionFailedError,
        RangeNotSatisfiableError,
        StorageUnavailableError,
    ),
)
async def download_file(
    key: str,
    query: Annotated[Signed, Query()],
    request: Request,
    storage: FromDishka[FileStorage],
) -> Response:
    """Get a file, or a part of it, with a signed address."""
    storage.check_grant(Grant(method="GET", key=key, expires=query.expires), query.signature)
    return await file_response(storage, key, request)


@router.put(
    "/{key:path}",
    status_code=status.HTTP_204_NO_CONTENT,
    max_body_size=LARGEST_BODY,
    responses=problem_responses(
        InvalidSignatureError, InvalidDetailsError, FileTooLargeError, StorageUnavailableError
    ),
)
async def upload_file(
    key: str,
    query: Annotated[SignedForUpload, Query()],
    request: Request,
    storage: FromDishka[FileStorage],
) -> Response:
    """Upload a file to a signed address: with the type it was signed for, and no larger."""
    grant = Grant(
        method="PUT",
        key=key,
        expires=query.expires,
        content_type=query.type,
        max_size=query.max,
    )
    storage.check_grant(grant, query.signature)
    if request.headers.get("content-type", "") != query.type:
        raise InvalidSignatureError
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > query.max:
        raise FileTooLargeError  # before it is sent
    try:
        info = await storage.put(key, request.stream(), content_type=query.type, max_size=query.max)
    except ClientDisconnect as error:
        raise UploadInterruptedError from error
    return Response(status_code=status.HTTP_204_NO_CONTENT, headers={"ETag": info.etag})
