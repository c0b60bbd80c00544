"""What is known about a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """What a listing tells of a file."""

    key: str
    size: int
    """Bytes."""
    modified_at: datetime
    etag: str
    """With quotes (RFC 9110 §8.8.3): another content has another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo(ListedFile):
    """All that is known about a file."""

    content_type: str
    checksum: str | None = None
    """SHA-256 in hexadecimal. None only for a large stream in a cloud whose checksum nobody knew
    when it began."""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePage:
    """A stretch of a listing."""

    files: tuple[ListedFile, ...]
    next: str | None
    """Pass it as `after` to go on; None: this was the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedUpload:
    """How somebody without credentials may upload one file. Has to be used as it is.

    With `fields`, send a form (`multipart/form-data`) of them, then the file as the field `file`;
    otherwise the file is the body, sent with `headers`.
    """

    method: str
    url: str
    expires_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Download:
    """A file, or a part of it, that is being read."""

    info: FileInfo
    start: int
    end: int
    """Position after the last byte."""
    chunks: AsyncIterator[bytes]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the chunks."""
        return self.chunks

    async def read(self) -> bytes:
        """Return what is left, at once: for what is known to be small."""
        return b"".join([chunk async for chunk in self.chunks])
