"""Values of others that are too large to travel."""

from __future__ import annotations

from datetime import timedelta

import pytest
from dishka import AsyncContainer

from app.core.clock import ManualClock
from app.infrastructure.storage import FileStorage, InvalidKeyError, StoredFileNotFoundError
from app.infrastructure.storage.large_values import FOLDER, LARGE_VALUES, SWEEP, LargeFiles

HOUR = timedelta(hours=1)


async def test_a_value_is_kept_until_it_is_deleted(
    storage_container: AsyncContainer, storage: FileStorage
) -> None:
    """Also where it was deleted already."""
    key = await LARGE_VALUES.put(storage_container, b"[1]", HOUR)
    assert await LARGE_VALUES.get(storage_container, key) == b"[1]"
    for _ in range(2):
        await LARGE_VALUES.delete(storage_container, key)
    with pytest.raises(StoredFileNotFoundError):
        await LARGE_VALUES.get(storage_container, key)
    assert not (await storage.list()).files


async def test_a_key_from_elsewhere_leads_to_no_other_file(
    storage_container: AsyncContainer, storage: FileStorage
) -> None:
    """Who can write into the queue can name any."""
    await storage.put("avatars/ada", b"a face")
    for key in ("avatars/ada", f"{FOLDER}/../avatars/ada", f"{FOLDER}-x/a"):
        for touch in (LARGE_VALUES.get, LARGE_VALUES.delete):
            with pytest.raises((StoredFileNotFoundError, InvalidKeyError)):
                await touch(storage_container, key)
    assert await storage.get("avatars/ada") == b"a face"


async def test_what_nobody_asked_for_in_time_is_deleted(storage: FileStorage) -> None:
    clock = ManualClock()
    values = LargeFiles(storage, clock)
    short = await values.put(b"[1]", timedelta(minutes=5))
    long = await values.put(b"[2]", HOUR)
    clock.advance(timedelta(minutes=6))
    assert await values.get(short) == b"[1]"
    clock.advance(SWEEP)
    newest = await values.put(b"[3]", HOUR)
    assert {file.key for file in (await storage.list()).files} == {long, newest}
