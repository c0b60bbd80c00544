"""The port: what the service does with files, wherever they are kept."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import quote

from app.core.clock import Clock
from app.infrastructure.storage.content import Content, Source
from app.infrastructure.storage.driver import Details, Driver
from app.infrastructure.storage.errors import (
    FileTooLargeError,
    InvalidDetailsError,
    StoredFileNotFoundError,
)
from app.infrastructure.storage.files import Download, FileInfo, FilePage, ListedFile, SignedUpload
from app.infrastructure.storage.keys import check_key, check_prefix
from app.infrastructure.storage.settings import StorageSettings
from app.infrastructure.storage.signing import Grant, UrlSigner

CONTENT_TYPE = re.compile(
    r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}(?:; ?[ -~]{1,127})?", re.IGNORECASE
)
"""A media type, parameters included (RFC 9110 §8.3.1, names as in RFC 6838 §4.2)."""
UNKNOWN_TYPE = "application/octet-stream"
METADATA_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What all clouds take; Azure wants an identifier."""
CHECKSUM = re.compile(r"[0-9a-f]{64}")
LARGEST_METADATA = 1800
"""Bytes of names and percent-encoded values; S3 takes 2,000, the checksum included."""
LARGEST_PAGE = 1000
LONGEST_GRANT = timedelta(days=7)
"""The most S3 and GCS take for a signed URL."""


class FileStorage:
    """Puts, gets and signs files.

        info = await storage.put(file_key("reports", report.id), data, content_type="text/csv")
        url = await storage.signed_url(info.key, timedelta(minutes=5))

    Keys are checked each time (`InvalidKeyError`), and any method may raise
    `StorageUnavailableError`.
    """

    def __init__(
        self, driver: Driver, settings: StorageSettings, signer: UrlSigner, clock: Clock
    ) -> None:
        """Keep files with the driver."""
        self._driver = driver
        self._max_size = settings.file_storage_max_size
        self._signer = signer
        self._clock = clock

    async def put(  # noqa: PLR0913 - four are options, by name
        self,
        key: str,
        content: Source,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        max_size: int | None = None,
        checksum: str | None = None,
    ) -> FileInfo:
        """Write a file, or replace it: whole or not at all.

        Args:
            key: see `file_key`.
            content: bytes, an `UploadFile`, or an iterator of bytes such as `request.stream()`. A
                stream is never held in memory whole.
            content_type: by default guessed from the ending of the key. Nothing looks into the
                content: who takes files from outside has to (see the avatars).
            metadata: names (`[a-z][a-z0-9_]*`) and values, up to 1,800 bytes percent-encoded.
            max_size: bytes, when less than `FILE_STORAGE_MAX_SIZE` is accepted here.
            checksum: SHA-256 in hexadecimal that the content must have.

        Raises:
            FileTooLargeError: nothing is kept.
            ChecksumMismatchError: something else came; nothing is kept.
            InvalidDetailsError: a type or metadata that can't be kept.
        """
        check_key(key)
        details = _details(key, content_type, metadata or {})
        if checksum is not None and not CHECKSUM.fullmatch(checksum):
            message = "A checksum is the SHA-256 as 64 hexadecimal digits in lower case."
            raise InvalidDetailsError(message)
        limit = self._max_size if max_size is None else min(max_size, self._max_size)
        body = Content(content, limit, checksum)
        await body.begin()
        return await self._driver.put(key, body, details)

    async def get(self, key: str, *, max_size: int | None = None) -> bytes:
        """Return the content of a small file.

        Raises:
            StoredFileNotFoundError: there is none.
            FileTooLargeError: it has more than `max_size` bytes, by default
                `FILE_STORAGE_MAX_SIZE`: `open` reads it piece by piece.
        """
        async with self.open(key) as download:
            if download.info.size > (self._max_size if max_size is None else max_size):
                raise FileTooLargeError
            return await download.read()

    @asynccontextmanager
    async def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[Download]:
        """Read a file in pieces, or the part from `start` to before `end`.

            async with storage.open(key) as download:
                async for chunk in download: ...

        Raises:
            StoredFileNotFoundError: there is none.
            RangeNotSatisfiableError: `start` is at its end or behind it.
        """
        if start < 0 or (end is not None and end <= start):
            message = "a part of a file is 0 <= start < end"
            raise ValueError(message)
        async with self._driver.open(check_key(key), start, end) as download:
            yield download

    async def head(self, key: str) -> FileInfo:
        """Return what is known about a file.

        Raises:
            StoredFileNotFoundError: there is none.
        """
        return await self._driver.head(check_key(key))

    async def exists(self, key: str) -> bool:
        """Tell whether there is such a file."""
        try:
            await self.head(key)
        except StoredFileNotFoundError:
            return False
        return True

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> FilePage:
        """Return files in the order of their keys, a page at a time.

        Args:
            prefix: names they begin with, as a folder: `a/b` finds `a/b/c`, not `a/bc`.
            after: the `next` of the page before.
            limit: 1 to 1,000 files.
        """
        if not 1 <= limit <= LARGEST_PAGE:
            message = f"a page has 1 to {LARGEST_PAGE} files"
            raise ValueError(message)
        found: list[ListedFile] = []
        async for file in self._driver.list(
            check_prefix(prefix), check_key(after) if after else ""
        ):
            if len(found) == limit:
                return FilePage(files=tuple(found), next=found[-1].key)
            found.append(file)
        return FilePage(files=tuple(found), next=None)

    async def copy(self, source: str, target: str) -> None:
        """Copy a file with its type and metadata, replacing what is there.

        Raises:
            StoredFileNotFoundError: there is no source.
        """
        if check_key(source) == check_key(target):
            await self.head(source)
            return
        await self._driver.copy(source, target)

    async def move(self, source: str, target: str) -> None:
        """Give a file another key, replacing what is there. In a cloud: copy, then delete.

        Raises:
            StoredFileNotFoundError: there is no source.
        """
        if check_key(source) == check_key(target):
            await self.head(source)
            return
        await self._driver.move(source, target)

    async def delete(self, *keys: str) -> None:
        """Delete files. One that is not there is no error: deleting may be repeated."""
        if keys:
            await self._driver.delete([check_key(key) for key in dict.fromkeys(keys)])

    async def signed_url(self, key: str, expires: timedelta = timedelta(minutes=15)) -> str:
        """Return a URL with which anybody may read this file until it expires, within 7 days.

        It leads to the cloud itself; for files on local disk to this service. Whether there is such
        a file is not looked at.
        """
        direct = await self._driver.sign_download(check_key(key), _bounded(expires))
        if direct is not None:
            return direct
        return self._signer.sign(Grant(method="GET", key=key, expires=self._until(expires)))

    async def signed_upload(
        self,
        key: str,
        *,
        content_type: str,
        max_size: int,
        expires: timedelta = timedelta(minutes=15),
    ) -> SignedUpload:
        """Let anybody who gets it upload this one file, of this type and up to this size.

        To S3 it is a form the browser sends there; otherwise it leads to this service, for no other
        cloud enforces both type and size.
        """
        details = _details(check_key(key), content_type, {})
        limit = min(max_size, self._max_size)
        arguments = (key, details.content_type, limit, _bounded(expires))
        direct = self._driver.sign_upload(*arguments)
        if direct is not None:
            return direct
        grant = Grant(
            method="PUT",
            key=key,
            expires=self._until(expires),
            content_type=details.content_type,
            max_size=limit,
        )
        return SignedUpload(
            method="PUT",
            url=self._signer.sign(grant),
            expires_at=self._clock.now() + expires,
            headers={"Content-Type": details.content_type},
        )

    def check_grant(self, grant: Grant, signature: str) -> None:
        """Accept what a URL of this service allows: for the routes under `/files`.

        Raises:
            InvalidSignatureError: it does not.
        """
        self._signer.check(grant, signature, self._clock.now())

    def _until(self, expires: timedelta) -> int:
        return int((self._clock.now() + expires).timestamp())


def _bounded(expires: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= expires <= LONGEST_GRANT:
        message = f"a signed URL is valid for one second to {LONGEST_GRANT.days} days"
        raise ValueError(message)
    return expires


def _details(key: str, content_type: str | None, metadata: Mapping[str, str]) -> Details:
    kind = content_type or mimetypes.guess_type(key, strict=False)[0] or UNKNOWN_TYPE
    if not CONTENT_TYPE.fullmatch(kind):
        message = "The content type is not like image/png."
        raise InvalidDetailsError(message)
    if not all(METADATA_NAME.fullmatch(name) for name in metadata) or "sha256" in metadata:
        message = "Names of metadata are like source_name, and not sha256."
        raise InvalidDetailsError(message)
    if not all(value.isprintable() for value in metadata.values()):
        message = "Metadata must not hold control characters."
        raise InvalidDetailsError(message)
    if sum(len(name) + len(quote(value)) for name, value in metadata.items()) > LARGEST_METADATA:
        message = f"Metadata may have {LARGEST_METADATA} bytes, names included, percent-encoded."
        raise InvalidDetailsError(message)
    return Details(content_type=kind, metadata=dict(metadata))
