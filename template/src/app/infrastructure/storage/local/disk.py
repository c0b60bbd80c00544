"""Sidecars, and what makes a change of the disk last."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from app.infrastructure.storage.errors import StorageUnavailableError
from app.infrastructure.storage.files import FileInfo

SIDECAR = "@.json"


class Sidecar(BaseModel):
    """What is kept beside the content of a file."""

    model_config = ConfigDict(frozen=True)

    key: str
    content: str
    """Name of this version's content, the part after the `@`."""
    size: int
    content_type: str
    checksum: str
    metadata: Mapping[str, str]
    modified_at: datetime

    @classmethod
    def read(cls, path: Path, key: str) -> Sidecar | None:
        """Read the sidecar of a key; None when it is another key's, which differs in case.

        Raises:
            FileNotFoundError: there is none.
            StorageUnavailableError: what is there is no sidecar.
        """
        with open_plain(path) as file:
            text = file.read()
        try:
            found = cls.model_validate_json(text)
        except ValidationError as error:
            message = "The details of this file can't be read."
            raise StorageUnavailableError(message) from error
        return found if found.key == key else None

    def dump(self) -> bytes:
        """Return it as JSON."""
        return self.model_dump_json(indent=1).encode()

    def info(self) -> FileInfo:
        """Return what the port tells."""
        return FileInfo(
            key=self.key,
            size=self.size,
            modified_at=self.modified_at,
            etag=f'"{self.content}"',
            content_type=self.content_type,
            checksum=self.checksum,
            metadata=self.metadata,
        )


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading; a link is an OSError (open(2), `O_NOFOLLOW`)."""
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder last (fsync(2) on a directory)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(temporary: Path, data: bytes, target: Path) -> None:
    """Put data in the place of `target` at once; before and after, it lasts."""
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)


def walk(root: Path, prefix: str, after: str) -> Iterator[str]:
    """Yield the keys below a prefix, in their own order, those behind `after` only.

    A folder is sorted with the slash that follows its name: so is the whole of its keys.
    """
    folder = root / prefix
    if os.path.realpath(folder) != str(folder):
        return  # a link: nothing of ours
    try:
        with os.scandir(folder) as entries:
            names = sorted(_names(entries))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        key = f"{prefix}/{name}" if prefix else name
        if name.endswith("/"):
            if not after or key > after or after.startswith(key):
                yield from walk(root, key[:-1], after)
        elif key > after:
            yield key


def _names(entries: Iterator[os.DirEntry[str]]) -> Iterator[str]:
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield f"{entry.name}/"
        elif entry.name.endswith(SIDECAR):
            yield entry.name.removesuffix(SIDECAR)
