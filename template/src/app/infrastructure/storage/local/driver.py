"""Files on local disk.

A file is two: its content, under a name of its own for each version, and a sidecar, JSON that
names the content and holds the details. Renaming the sidecar is the commit: a reader sees one
version with its own type, or the other. Both are on the disk (fsync) before that, so a crash leaves
the old version or the new one.

    var/files/avatars/face.webp@.json       the sidecar
    var/files/avatars/face.webp@5f1c…       the content
    var/files/.incoming/…                   what is being written

No key holds `@` or begins with a dot, so nothing collides.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from app.core.errors import ConfigurationError
from app.core.settings import AppSettings
from app.infrastructure.storage.content import CHUNK, Content
from app.infrastructure.storage.driver import Details, DriverParts
from app.infrastructure.storage.errors import (
    InvalidKeyError,
    RangeNotSatisfiableError,
    StorageUnavailableError,
    StoredFileNotFoundError,
)
from app.infrastructure.storage.files import Download, FileInfo, ListedFile, SignedUpload
from app.infrastructure.storage.local.disk import (
    SIDECAR,
    Sidecar,
    open_plain,
    sync_folder,
    walk,
    write_durably,
)
from app.infrastructure.storage.local.settings import LocalStorageSettings

ResultT = TypeVar("ResultT")

INCOMING = ".incoming"
LOCK = "lock-"
FORGOTTEN = 86_400.0
"""Seconds after which what is being written was left behind by a crash."""
BATCH = 100
"""Keys listed in one go."""
LOCKS = 64
TRIES = 20
"""Of what a concurrent replacement or removal may be in the way of."""


def build(parts: DriverParts) -> LocalDriver:
    """Make the driver."""
    settings = parts.all_settings.get(LocalStorageSettings)
    deployed = parts.all_settings.get(AppSettings).app_env.is_deployed
    if deployed and not settings.file_storage_local_durable:
        message = (
            "Files on the disk of one machine are lost with it: set FILE_STORAGE_DRIVER to a "
            "cloud, or FILE_STORAGE_LOCAL_DURABLE=true if FILE_STORAGE_LOCAL_DIR is a shared volume"
        )
        raise ConfigurationError(message)
    return LocalDriver(settings.file_storage_local_dir)


class LocalDriver:
    """See `Driver`. Every look at the disk happens in a thread."""

    def __init__(self, root: Path) -> None:
        """Name the folder."""
        self._root = Path(os.path.realpath(root))
        self._incoming = self._root / INCOMING
        self._locks = [threading.Lock() for _ in range(LOCKS)]

    async def start(self) -> None:
        """See `Driver.start`; also removes what a crash left half-written a day ago."""
        try:
            await asyncio.to_thread(self._prepare)
        except OSError as error:
            message = (
                f"Files can't be kept in {self._root} ({error.strerror}): set "
                "FILE_STORAGE_LOCAL_DIR to a folder the service may write to"
            )
            raise ConfigurationError(message) from error

    def _prepare(self) -> None:
        self._incoming.mkdir(parents=True, exist_ok=True)
        for path in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                forgotten = time.time() - path.stat().st_mtime > FORGOTTEN
                # A lock that is removed while it is held no longer keeps others out.
                if forgotten and path.is_file() and not path.name.startswith(LOCK):
                    path.unlink()

    async def stop(self) -> None:
        """See `Driver.stop`."""

    async def check(self) -> None:
        """See `Driver.check`."""
        await self._io(self._probe)

    def _probe(self) -> None:
        probe = self._incoming / secrets.token_hex(16)
        probe.touch()
        probe.unlink()

    async def put(self, key: str, content: Content, details: Details) -> FileInfo:
        """See `Driver.put`."""
        path = self._incoming / secrets.token_hex(16)
        try:
            file = _create(path)
            try:
                async for chunk in content:
                    await self._io(file.write, chunk)
                await self._io(_finish, file)
            finally:
                # Closing writes what a full disk did not take once more. All else is written.
                with suppress(OSError):
                    file.close()
            sidecar = Sidecar(
                key=key,
                content=path.name,
                size=content.size,
                content_type=details.content_type,
                checksum=content.checksum or "",
                metadata=dict(details.metadata),
                modified_at=datetime.now(UTC),
            )
            await self._to_the_end(self._commit, path, sidecar)
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise
        return sidecar.info()

    def _commit(self, written: Path, sidecar: Sidecar) -> None:
        with self._locked(sidecar.key):
            before = self._find(sidecar.key)
            place = self._bring(written, sidecar)
            target = place.with_name(place.name + SIDECAR)
            try:
                write_durably(self._incoming / secrets.token_hex(16), sidecar.dump(), target)
            except OSError:
                if self._find(sidecar.key) == before:  # or only the folder was not synced
                    self._content(sidecar).unlink(missing_ok=True)
                raise
            if before:
                self._content(before).unlink(missing_ok=True)

    def _bring(self, written: Path, sidecar: Sidecar) -> Path:
        """Move the content to where it belongs; return where that is."""
        left = TRIES
        while True:
            left -= 1
            try:
                place = self._place(sidecar.key, make=True)
                written.replace(self._content(sidecar))
            except FileNotFoundError:  # whoever emptied the folder has removed it
                if not left:
                    raise
            else:
                return place

    async def head(self, key: str) -> FileInfo:
        """See `Driver.head`."""
        return (await self._io(self._get, key)).info()

    @asynccontextmanager
    async def open(self, key: str, start: int, end: int | None) -> AsyncIterator[Download]:
        """See `Driver.open`."""
        file, sidecar = await self._io(self._open, key)
        with file:
            size = sidecar.size
            if start >= size and (start or end is not None):
                raise RangeNotSatisfiableError(headers={"Content-Range": f"bytes */{size}"})
            stop = size if end is None else min(end, size)
            await self._io(file.seek, start)
            yield Download(sidecar.info(), start, stop, self._read(file, stop - start))

    def _open(self, key: str) -> tuple[BinaryIO, Sidecar]:
        for _ in range(TRIES):
            sidecar = self._get(key)
            with suppress(FileNotFoundError):  # replaced since: look again
                return open_plain(self._content(sidecar)), sidecar
        raise StoredFileNotFoundError

    async def _read(self, file: BinaryIO, left: int) -> AsyncIterator[bytes]:
        while left and (chunk := await self._io(file.read, min(CHUNK, left))):
            left -= len(chunk)
            yield chunk

    async def list(self, prefix: str, after: str) -> AsyncIterator[ListedFile]:
        """See `Driver.list`."""
        found = walk(self._root, prefix, after)
        while batch := await self._io(_some, found):
            for key in batch:
                with suppress(StoredFileNotFoundError):
                    info = await self.head(key)
                    yield ListedFile(
                        key=key, size=info.size, modified_at=info.modified_at, etag=info.etag
                    )

    async def copy(self, source: str, target: str) -> None:
        """See `Driver.copy`: both share the content, which never changes."""
        await self._to_the_end(self._copy, source, target)

    def _copy(self, source: str, target: str) -> Sidecar:
        path = self._incoming / secrets.token_hex(16)
        for _ in range(TRIES):
            sidecar = self._get(source)
            content = self._content(sidecar)
            try:
                path.hardlink_to(content)
                os.utime(path)  # or a process that starts takes it for what a crash left
            except FileNotFoundError:  # replaced since: look again
                continue
            except OSError:  # not on this file system
                shutil.copyfile(content, path, follow_symlinks=False)
            changes = {"key": target, "content": path.name, "modified_at": datetime.now(UTC)}
            try:
                self._commit(path, sidecar.model_copy(update=changes))
            finally:
                path.unlink(missing_ok=True)
            return sidecar
        raise StoredFileNotFoundError

    async def move(self, source: str, target: str) -> None:
        """See `Driver.move`; what was put under the old key meanwhile stays there."""
        await self._to_the_end(self._move, source, target)

    def _move(self, source: str, target: str) -> None:
        self._delete(source, self._copy(source, target))

    async def delete(self, keys: Sequence[str]) -> None:
        """See `Driver.delete`."""
        for key in keys:
            await self._io(self._delete, key)

    def _delete(self, key: str, version: Sidecar | None = None) -> None:
        with self._locked(key):
            try:
                sidecar = self._get(key)
            except StoredFileNotFoundError:
                return
            if version and sidecar != version:
                return
            place = self._place(key)
            place.with_name(place.name + SIDECAR).unlink(missing_ok=True)
            sync_folder(place.parent)
            self._content(sidecar).unlink(missing_ok=True)
            for folder in place.parents:
                if folder == self._root:
                    break
                with suppress(OSError):  # not empty
                    folder.rmdir()

    async def sign_download(self, key: str, expires: timedelta) -> str | None:
        """See `Driver.sign_download`: there is no such thing."""
        del key, expires
        return None

    def sign_upload(
        self, key: str, content_type: str, max_size: int, expires: timedelta
    ) -> SignedUpload | None:
        """See `Driver.sign_upload`: there is no such thing."""
        del key, content_type, max_size, expires
        return None

    def _place(self, key: str, *, make: bool = False) -> Path:
        """Return where a key is, without its `@…`.

        Raises:
            InvalidKeyError: a link leads elsewhere: out of the folder, or to another key.
        """
        place = self._root.joinpath(*key.split("/"))
        if make:
            for folder in [*reversed(place.parents)][len(self._root.parents) + 1 :]:
                with suppress(FileExistsError):
                    folder.mkdir()
                    sync_folder(folder.parent)
                if folder.is_symlink():
                    break  # not one step further
        if os.path.realpath(place.parent) != str(place.parent):
            message = "A link stands where the folder of this file should be."
            raise InvalidKeyError(message)
        return place

    def _content(self, sidecar: Sidecar) -> Path:
        place = self._place(sidecar.key)
        return place.with_name(f"{place.name}@{sidecar.content}")

    def _find(self, key: str) -> Sidecar | None:
        place = self._place(key)
        with suppress(FileNotFoundError, NotADirectoryError):
            return Sidecar.read(place.with_name(place.name + SIDECAR), key)
        return None

    def _get(self, key: str) -> Sidecar:
        sidecar = self._find(key)
        if sidecar is None:
            raise StoredFileNotFoundError
        return sidecar

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Change a key alone, among all threads and processes."""
        # Imported here: Windows has no fcntl; its processes must not share the folder.
        number = sum(key.encode()) % LOCKS
        with self._locks[number]:
            try:
                import fcntl  # noqa: PLC0415
            except ImportError:
                yield
                return
            with (self._incoming / f"{LOCK}{number}").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield

    async def _io(self, work: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Work on the disk in a thread.

        Raises:
            StorageUnavailableError: the disk is full, or refuses.
        """
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise StorageUnavailableError from error

    async def _to_the_end(self, work: Callable[..., object], *arguments: Any) -> None:
        """Work on the disk; a caller who is cancelled meanwhile waits until it is whole."""
        task = asyncio.ensure_future(self._io(work, *arguments))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise


def _create(path: Path) -> BinaryIO:
    # Not in a thread: that could open it when nobody is left to close it.
    try:
        return path.open("xb")
    except OSError as error:
        raise StorageUnavailableError from error


def _finish(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _some(keys: Iterator[str]) -> list[str]:
    return list(islice(keys, BATCH))
