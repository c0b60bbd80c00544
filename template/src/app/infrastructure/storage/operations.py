"""What `app storage` does, and what it prints."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from dishka import AsyncContainer

from app.core.discovery import discover
from app.core.errors import ConflictError
from app.core.service import in_service, part_of
from app.infrastructure.storage.content import CHUNK
from app.infrastructure.storage.storage import LARGEST_PAGE, FileStorage

ResultT = TypeVar("ResultT")


def _with_storage(use: Callable[[FileStorage], Awaitable[ResultT]]) -> ResultT:
    """Run with the storage alone: a look at files needs no database."""

    async def run(container: AsyncContainer) -> ResultT:
        return await use(await container.get(FileStorage))

    return in_service(part_of(discover(), {"storage"}), run)


def ls(prefix: str, show: Callable[[str], None]) -> None:
    """Show the files of a prefix, a line each, as they are found."""

    async def use(storage: FileStorage) -> None:
        after: str | None = ""
        while after is not None:
            page = await storage.list(prefix, after=after, limit=LARGEST_PAGE)
            for file in page.files:
                show(f"{file.size:>12}  {file.modified_at:%Y-%m-%d %H:%M:%S}  {file.key}")
            after = page.next

    _with_storage(use)


def put(source: Path, key: str, content_type: str | None) -> str:
    """Store a file; return one line."""

    async def use(storage: FileStorage) -> str:
        info = await storage.put(key, _read(source), content_type=content_type)
        return f"{info.key}: {info.size} bytes, {info.content_type}, SHA-256 {info.checksum}"

    return _with_storage(use)


async def _read(source: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(source.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk


def get(key: str, target: Path) -> str:
    """Write a stored file to `target`, whole or not at all; return one line.

    Raises:
        ConflictError: something is there.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")

    async def use(storage: FileStorage) -> str:
        async with storage.open(key) as download:
            with await asyncio.to_thread(partial.open, "xb") as file:
                async for chunk in download:
                    await asyncio.to_thread(file.write, chunk)
        partial.rename(target)
        return f"{target}: {download.info.size} bytes, {download.info.content_type}"

    if target.exists():
        message = f"{target} exists: delete it, or name another file"
        raise ConflictError(message)
    try:
        return _with_storage(use)
    finally:
        partial.unlink(missing_ok=True)


def rm(keys: Sequence[str]) -> None:
    """Delete files."""
    _with_storage(lambda storage: storage.delete(*keys))


def sign(key: str, lasting: timedelta) -> str:
    """Return a URL for a download."""
    return _with_storage(lambda storage: storage.signed_url(key, lasting))


def sign_upload(key: str, lasting: timedelta, content_type: str, max_size: int) -> str:
    """Return what an upload needs, as JSON."""

    async def use(storage: FileStorage) -> str:
        signed = await storage.signed_upload(
            key, content_type=content_type, max_size=max_size, expires=lasting
        )
        return json.dumps(
            {
                "method": signed.method,
                "url": signed.url,
                "headers": dict(signed.headers),
                "fields": dict(signed.fields),
                "expires_at": signed.expires_at.isoformat(),
            },
            indent=2,
        )

    return _with_storage(use)
