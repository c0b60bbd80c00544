"""Answer a request with a stored file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email.utils import format_datetime
from http import HTTPStatus

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from app.core.conditional import is_expected
from app.core.errors import PreconditionFailedError
from app.infrastructure.storage.files import Download, FileInfo
from app.infrastructure.storage.ranges import matches, parse_range, still_valid
from app.infrastructure.storage.storage import FileStorage

SHOWN = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"})
"""Types a browser may show. Anything else, HTML and SVG above all, would run as a page of ours."""


async def file_response(
    storage: FileStorage, key: str, request: Request, *, cache_control: str = "private, no-cache"
) -> Response:
    """Stream a file, or the part of it the request asks for, with its conditions (RFC 9110 §13).

    Nothing but images of known formats is shown by a browser: the rest is saved to disk.

    Raises:
        StoredFileNotFoundError: there is none.
        PreconditionFailedError: it is not the version the request names.
        RangeNotSatisfiableError: it has no such part.
    """
    info = await storage.head(key)
    modified = format_datetime(info.modified_at, usegmt=True)
    if not is_expected(request, info.etag, modified):
        raise PreconditionFailedError
    headers = _headers(info, modified) | {"Cache-Control": cache_control}
    if matches(request.headers.get("if-none-match"), info.etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    wanted = None
    if request.method == "GET" and still_valid(request.headers.get("if-range"), info, modified):
        wanted = parse_range(request.headers.get("range"), info.size)
    if request.method == "HEAD":
        headers["Content-Length"] = str(info.size)
        return Response(headers=headers, media_type=info.content_type)
    stack = AsyncExitStack()
    start, end = wanted or (0, None)
    download = await stack.enter_async_context(storage.open(key, start, end))
    if download.info.etag != info.etag:  # it was replaced in this moment
        await stack.aclose()
        return await file_response(storage, key, request, cache_control=cache_control)
    headers["Content-Length"] = str(download.end - download.start)
    if wanted:
        headers["Content-Range"] = f"bytes {download.start}-{download.end - 1}/{info.size}"
    return StreamingResponse(
        _body(stack, download),
        status_code=HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK,
        headers=headers,
        media_type=info.content_type,
    )


async def _body(stack: AsyncExitStack, download: Download) -> AsyncIterator[bytes]:
    async with stack:
        async for chunk in download:
            yield chunk


def _headers(info: FileInfo, modified: str) -> dict[str, str]:
    shown = info.content_type in SHOWN
    return {
        "ETag": info.etag,
        "Last-Modified": modified,
        "Accept-Ranges": "bytes",
        "Content-Disposition": "inline" if shown else "attachment",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
