"""Files as objects of a bucket, through obstore (Rust's object_store)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import obstore
from loguru import logger

from app.core.errors import ConfigurationError
from app.infrastructure.storage.content import CHUNK, Content
from app.infrastructure.storage.driver import Details
from app.infrastructure.storage.errors import (
    RangeNotSatisfiableError,
    StorageRefusedError,
    StorageUnavailableError,
    StoredFileNotFoundError,
)
from app.infrastructure.storage.files import Download, FileInfo, ListedFile, SignedUpload
from app.infrastructure.storage.keys import is_key
from app.infrastructure.storage.objects.errors import translated
from app.infrastructure.storage.objects.upload import upload_stream
from app.infrastructure.storage.settings import StorageSettings

if TYPE_CHECKING:  # obstore has these for type checkers only
    from obstore import GetResult, ObjectMeta
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

CHECKSUM = "sha256"
"""Name of the checksum in the metadata."""
AT_ONCE = 100
"""Objects deleted in one go; Azure takes 256."""
LAST_BREATH = 0.05
"""Seconds. obstore aborts the process (SIGABRT) when the interpreter ends within some 10 ms of a
call: its threads still hold references."""
START_SECONDS = 10.0
"""How long a start waits for an answer: less than `APP_STARTUP_TIMEOUT`, which would end it."""
LONGEST_TRANSFER = timedelta(hours=6)
"""A file on its way; obstore's own limit of 30 s counts the whole body."""


def client_options(settings: StorageSettings, url: str) -> ClientConfig:
    """Return how patient the HTTP client is; plain HTTP only where the address says so."""
    return {
        "allow_http": url.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(settings.file_storage_timeout, 5.0)),
        "read_timeout": timedelta(seconds=settings.file_storage_timeout),
        "timeout": LONGEST_TRANSFER,
    }


def retry_config(settings: StorageSettings) -> RetryConfig:
    """Return how long a request that failed is repeated."""
    return {
        "max_retries": 3,
        "retry_timeout": timedelta(seconds=settings.file_storage_timeout),
    }


class ObjectDriver:
    """See `Driver`. A cloud's driver adds how to sign."""

    def __init__(self, store: S3Store | AzureStore | GCSStore, place: str, fix: str) -> None:
        """Keep objects in a store.

        Args:
            store: of obstore.
            place: what messages call it; holds no secret.
            fix: what to set when it can't be used.
        """
        self._store = store
        self._place = place
        self._fix = fix

    async def start(self) -> None:
        """See `Driver.start`. A cloud that is down is no reason not to start."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.check()
        except (StorageRefusedError, StoredFileNotFoundError) as error:
            message = f"{self._place} can't be used ({error.detail}) Set {self._fix}"
            raise ConfigurationError(message) from error
        except (StorageUnavailableError, TimeoutError) as error:
            logger.warning("{} does not answer: {}", self._place, repr(error))

    async def stop(self) -> None:
        """See `Driver.stop`."""
        await asyncio.sleep(LAST_BREATH)

    async def check(self) -> None:
        """See `Driver.check`: list one object."""
        with translated():
            async for _ in obstore.list(self._store, chunk_size=1):
                return

    async def put(self, key: str, content: Content, details: Details) -> FileInfo:
        """See `Driver.put`."""
        attributes = {"Content-Type": details.content_type}
        attributes |= {name: quote(value) for name, value in details.metadata.items()}
        if content.checksum:
            attributes[CHECKSUM] = content.checksum
        if content.whole is None:
            result = await upload_stream(self._store, key, content, attributes)
        else:
            with translated():
                result = await obstore.put_async(
                    self._store, key, content.whole, attributes=attributes, use_multipart=False
                )
        return FileInfo(
            key=key,
            size=content.size,
            modified_at=datetime.now(UTC),
            etag=result["e_tag"] or "",
            content_type=details.content_type,
            checksum=content.checksum,
            metadata=details.metadata,
        )

    async def head(self, key: str) -> FileInfo:
        """See `Driver.head`."""
        with translated():
            # obstore's own head leaves the attributes out.
            return _info(await obstore.get_async(self._store, key, options={"head": True}))

    @asynccontextmanager
    async def open(self, key: str, start: int, end: int | None) -> AsyncIterator[Download]:
        """See `Driver.open`."""
        options: Any = {}
        if start or end is not None:
            options = {"range": {"offset": start} if end is None else (start, end)}
        try:
            with translated():
                result = await obstore.get_async(self._store, key, options=options)
        except StorageUnavailableError:
            # Which of a cloud's refusals means that the range is behind the end is not told.
            size = (await self.head(key)).size if options else -1
            if 0 <= size <= start:
                header = {"Content-Range": f"bytes */{size}"}
                raise RangeNotSatisfiableError(headers=header) from None
            raise
        first, last = result.range
        yield Download(_info(result), first, last, _read(result))

    async def list(self, prefix: str, after: str) -> AsyncIterator[ListedFile]:
        """See `Driver.list`."""
        with translated():
            batches = obstore.list(self._store, prefix or None, offset=after or None)
            async for batch in batches:
                for meta in batch:
                    # Not every server begins where it is asked to; others may keep files as well.
                    if meta["path"] > after and is_key(meta["path"]):
                        yield ListedFile(**_meta(meta))

    async def copy(self, source: str, target: str) -> None:
        """See `Driver.copy`."""
        with translated():
            await obstore.copy_async(self._store, source, target)

    async def move(self, source: str, target: str) -> None:
        """See `Driver.move`."""
        await self.copy(source, target)
        await self.delete([source])

    async def delete(self, keys: Sequence[str]) -> None:
        """See `Driver.delete`."""
        for first in range(0, len(keys), AT_ONCE):
            batch = list(keys[first : first + AT_ONCE])
            with translated():
                try:
                    await obstore.delete_async(self._store, batch)
                except FileNotFoundError:
                    # Azure and GCS complain of the first that is not there; what became of the
                    # others is not told.
                    for key in batch:
                        with suppress(FileNotFoundError):
                            await obstore.delete_async(self._store, key)

    async def sign_download(self, key: str, expires: timedelta) -> str | None:
        """See `Driver.sign_download`."""
        with translated():
            return await obstore.sign_async(self._store, "GET", key, expires)

    def sign_upload(
        self, key: str, content_type: str, max_size: int, expires: timedelta
    ) -> SignedUpload | None:
        """See `Driver.sign_upload`: a signature of this cloud binds neither type nor size."""
        del key, content_type, max_size, expires
        return None


async def _read(result: GetResult) -> AsyncIterator[bytes]:
    with translated():
        async for chunk in result.stream(min_chunk_size=CHUNK):
            yield bytes(chunk)


def _meta(meta: ObjectMeta) -> dict[str, Any]:
    # Listings of Azure leave the quotes out.
    etag = (meta["e_tag"] or "").strip('"')
    return {
        "key": meta["path"],
        "size": meta["size"],
        "modified_at": meta["last_modified"],
        "etag": f'"{etag}"',
    }


def _info(result: GetResult) -> FileInfo:
    attributes: Mapping[str, str] = dict(result.attributes)
    own = {name: unquote(value) for name, value in attributes.items() if name.islower()}
    checksum = own.pop(CHECKSUM, None)
    return FileInfo(
        **_meta(result.meta),
        content_type=attributes.get("Content-Type", "application/octet-stream"),
        checksum=checksum,
        metadata=own,
    )
