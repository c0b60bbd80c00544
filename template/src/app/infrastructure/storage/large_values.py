"""Values that are too large to travel, such as arguments of a computation, kept as files."""

from __future__ import annotations

from datetime import datetime, timedelta

from dishka import AsyncContainer

from app.core.clock import Clock
from app.core.ids import new_id
from app.core.large_values import LargeValues
from app.infrastructure.storage.errors import StoredFileNotFoundError
from app.infrastructure.storage.keys import file_key
from app.infrastructure.storage.storage import FileStorage

FOLDER = "large-values"
SWEEP = timedelta(minutes=10)
"""Between two looks for values nobody has asked for in time."""


class LargeFiles:
    """Keeps values as files of a folder, named after the moment until which they are kept."""

    def __init__(self, storage: FileStorage, clock: Clock) -> None:
        """Keep them in `storage`."""
        self._storage = storage
        self._clock = clock
        self._swept: datetime | None = None

    async def put(self, body: bytes, keep: timedelta) -> str:
        """Keep bytes; return the key. Now and then, what was kept long enough is deleted."""
        now = self._clock.now()
        if self._swept is None or now - self._swept > SWEEP:
            self._swept = now
            await self._sweep(now)
        until = int((now + keep).timestamp()) + 1
        key = file_key(FOLDER, f"{until:012d}-{new_id().hex}")
        await self._storage.put(key, body, content_type="application/json")
        return key

    async def get(self, key: str) -> bytes:
        """Return what was put.

        Raises:
            StoredFileNotFoundError: nothing was, or no longer.
        """
        return await self._storage.get(_checked(key))

    async def delete(self, key: str) -> None:
        """Delete what was put, if it is still there."""
        await self._storage.delete(_checked(key))

    async def _sweep(self, now: datetime) -> None:
        page = await self._storage.list(FOLDER, limit=1000)  # the oldest first
        limit = f"{FOLDER}/{int(now.timestamp()):012d}-"
        await self._storage.delete(*(file.key for file in page.files if file.key < limit))


def _checked(key: str) -> str:
    """Refuse any other file: a key comes with a job, and not every job is signed."""
    if not key.startswith(f"{FOLDER}/"):
        raise StoredFileNotFoundError
    return key


async def put(container: AsyncContainer, body: bytes, keep: timedelta) -> str:
    """See `LargeFiles.put`."""
    return await (await container.get(LargeFiles)).put(body, keep)


async def get(container: AsyncContainer, key: str) -> bytes:
    """See `LargeFiles.get`."""
    return await (await container.get(LargeFiles)).get(key)


async def delete(container: AsyncContainer, key: str) -> None:
    """See `LargeFiles.delete`."""
    await (await container.get(LargeFiles)).delete(key)


LARGE_VALUES = LargeValues(put, get, delete)
