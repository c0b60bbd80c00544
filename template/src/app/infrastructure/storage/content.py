"""What is put: bytes, something to read from, or a stream; counted and summed on its way."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from app.infrastructure.storage.errors import ChecksumMismatchError, FileTooLargeError

CHUNK = 1 << 20
"""Bytes read at once."""
SMALL = 5 << 20
"""Bytes up to which a file is collected before it is sent, so that its checksum goes with it; also
the least a part of an S3 multipart upload may have."""


@runtime_checkable
class Readable(Protocol):
    """Something to read from, such as FastAPI's `UploadFile`."""

    async def read(self, size: int = -1, /) -> bytes:
        """Return up to so many bytes; nothing at the end."""
        ...


Source = bytes | bytearray | memoryview | Readable | AsyncIterator[bytes]
"""What `FileStorage.put` takes."""


class Content:
    """The bytes of a file on their way into the storage. Can be read once.

    Raises, while it is read:
        FileTooLargeError: more came than is accepted.
        ChecksumMismatchError: at the end, something else came than was announced.
    """

    def __init__(self, source: Source, max_size: int, checksum: str | None = None) -> None:
        """Read from `source`, up to `max_size` bytes, and compare with a SHA-256 in hexadecimal."""
        self._chunks = _chunks(source)
        self._max_size = max_size
        self._expected = checksum
        self._digest = hashlib.sha256()
        self._begun: bytes = b""
        self.size = 0
        self.whole: bytes | None = None
        """All of it, when it is small."""
        self.finished = False

    @property
    def checksum(self) -> str | None:
        """The SHA-256 in hexadecimal: announced, or known because all was read; else None."""
        return self._digest.hexdigest() if self.finished else self._expected

    async def begin(self) -> None:
        """Collect the first bytes; small content is `whole` afterwards."""
        collected = bytearray()
        async for chunk in self._counted():
            collected += chunk
            if len(collected) > SMALL:
                break
        self._begun = bytes(collected)
        self.whole = self._begun if self.finished else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield what was collected, then the rest."""
        if self._begun:
            yield self._begun
        self._begun = b""
        if not self.finished:
            async for chunk in self._counted():
                yield chunk

    async def _counted(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self.size > self._max_size:
                message = f"The file is larger than {self._max_size} bytes."
                raise FileTooLargeError(message)
            self._digest.update(chunk)
            yield chunk
        if self._expected and self._digest.hexdigest() != self._expected:
            raise ChecksumMismatchError
        self.finished = True


async def _chunks(source: Source) -> AsyncIterator[bytes]:
    if isinstance(source, bytes | bytearray | memoryview):
        view = memoryview(source).cast("B")
        for start in range(0, len(view), CHUNK):
            yield bytes(view[start : start + CHUNK])
    elif isinstance(source, Readable):
        while chunk := await source.read(CHUNK):
            yield chunk
    else:
        async for chunk in source:
            yield bytes(chunk)
