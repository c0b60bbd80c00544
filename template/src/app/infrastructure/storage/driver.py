"""What a driver must do. Everything above it is the same wherever files are kept.

A driver is a folder here with a `driver.py`, whose `build` makes it, and a `settings.py`. Keys,
sizes, checksums, content types and metadata were checked before they reach it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from app.core.settings import SettingsBundle
from app.infrastructure.storage.content import Content
from app.infrastructure.storage.files import Download, FileInfo, ListedFile, SignedUpload
from app.infrastructure.storage.settings import StorageSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What is kept beside the bytes of a file."""

    content_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverParts:
    """What a driver is made from."""

    settings: StorageSettings
    all_settings: SettingsBundle


class Driver(Protocol):
    """Keeps files in one place.

    Raises, wherever it applies:
        StoredFileNotFoundError: there is no file of that key.
        StorageUnavailableError: the place can't be reached, or refuses.
    """

    async def start(self) -> None:
        """Get ready.

        Raises:
            ConfigurationError: it will never work as it is configured; says what to change.
        """
        ...

    async def stop(self) -> None:
        """Let go of everything."""
        ...

    async def check(self) -> None:
        """Ask the place for an answer."""
        ...

    async def put(self, key: str, content: Content, details: Details) -> FileInfo:
        """Write a file, or replace it: whole or, whatever happens meanwhile, not at all."""
        ...

    async def head(self, key: str) -> FileInfo:
        """Return what is known about a file."""
        ...

    def open(self, key: str, start: int, end: int | None) -> AbstractAsyncContextManager[Download]:
        """Read a file from `start` up to `end`, or its end: one version of it, not a mixture."""
        ...

    def list(self, prefix: str, after: str) -> AsyncIterator[ListedFile]:
        """Yield the files of a prefix in the order of their keys, beginning behind `after`."""
        ...

    async def copy(self, source: str, target: str) -> None:
        """Copy with all details, replacing what is there."""
        ...

    async def move(self, source: str, target: str) -> None:
        """Copy, then delete."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete files; those that are not there are no error."""
        ...

    async def sign_download(self, key: str, expires: timedelta) -> str | None:
        """Return a URL of the place itself that gives this file; None: it has no such thing."""
        ...

    def sign_upload(
        self, key: str, content_type: str, max_size: int, expires: timedelta
    ) -> SignedUpload | None:
        """Let somebody upload to the place itself; None unless it enforces both type and size."""
        ...
