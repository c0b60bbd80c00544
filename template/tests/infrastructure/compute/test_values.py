"""Arguments and results that are too large for a job: kept elsewhere, or refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from dishka import AsyncContainer

from app.core.discovery import discover
from app.core.errors import ConfigurationError
from app.infrastructure.compute import LargeValues, ValueTooLargeError
from app.infrastructure.queue import JobFailedError, JobState
from app.infrastructure.queue.codec import LARGEST_BODY
from tests.infrastructure.compute.conftest import Start, until_waiting

LARGE = LARGEST_BODY + 1


class Folder:
    """Keeps values as files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: list[timedelta] = []

    async def put(self, _: AsyncContainer, body: bytes, keep: timedelta) -> str:
        key = uuid4().hex
        await asyncio.to_thread((self.path / key).write_bytes, body)
        self.kept.append(keep)
        return key

    async def get(self, _: AsyncContainer, key: str) -> bytes:
        return await asyncio.to_thread((self.path / key).read_bytes)

    async def delete(self, _: AsyncContainer, key: str) -> None:
        await asyncio.to_thread((self.path / key).unlink)

    def files(self) -> list[Path]:
        return sorted(self.path.iterdir())

    @property
    def port(self) -> LargeValues:
        return LargeValues(self.put, self.get, self.delete)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty one."""
    (tmp_path / "large").mkdir()
    return Folder(tmp_path / "large")


async def test_without_a_store_large_values_are_refused(start: Start) -> None:
    """With their sizes, and what to do; the result's error is the caller's."""
    async with start() as service:
        with pytest.raises(ValueTooLargeError) as raised:
            await service.maths.text(0, "x" * LARGE)
        assert "The arguments of Maths.text have 26" in str(raised.value)
        assert f"{LARGEST_BODY} fit into a job" in str(raised.value)
        assert "`LargeValues`" in str(raised.value)
        assert raised.value.status == 413
        with pytest.raises(ValueTooLargeError, match=r"The result of Maths.text have 26"):
            await service.maths.text(LARGE)
        assert (await service.jobs.engine.counts("compute"))[JobState.DEAD] == 1


async def test_large_values_go_through_the_store(start: Start, folder: Folder) -> None:
    """And are deleted when the caller has its result; small ones stay in the job."""
    async with start(folder.port) as service:
        assert len(await service.maths.text(5, "x" * LARGE)) == LARGE + 5
        assert len(folder.kept) == 2
        assert folder.files() == []
        assert await service.maths.text(5) == "xxxxx"
        assert len(folder.kept) == 2


async def test_large_values_go_through_the_store_this_service_has(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it has one, with nothing to be configured; nothing is left of them."""
    keepers = tuple(
        found
        for found in discover().modules
        if any(isinstance(item, LargeValues) for item in found.contributes)
    )
    if not keepers:
        pytest.skip("no module of this service keeps large values")
    monkeypatch.chdir(tmp_path)
    async with start(modules=keepers) as service:
        assert len(await service.maths.text(5, "x" * LARGE)) == LARGE + 5
    left = await asyncio.to_thread(lambda: [path for path in tmp_path.rglob("*") if path.is_file()])
    assert not [path for path in left if path.stat().st_size > LARGE]


async def test_large_values_have_a_limit_too(
    start: Start, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPUTE_LARGEST", str(LARGE + 100))
    async with start(folder.port) as service:
        assert len(await service.maths.text(LARGE)) == LARGE
        with pytest.raises(ValueTooLargeError, match="raise COMPUTE_LARGEST"):
            await service.maths.text(0, "x" * (LARGE + 100))


async def test_a_stored_value_somebody_changed_is_refused(start: Start, folder: Folder) -> None:
    """Its hash is in the job, which is signed."""
    async with start(folder.port, worker_queues="") as service:
        task = asyncio.create_task(service.maths.text(0, "x" * LARGE))
        await until_waiting(service)
        (file,) = folder.files()
        file.write_bytes(file.read_bytes().replace(b"xx", b"xy", 1))
        async with start(folder.port):
            with pytest.raises(JobFailedError, match="is not what was put there"):
                await task


async def test_a_store_that_fails_is_an_error_of_the_call(start: Start, folder: Folder) -> None:
    """Deleting may fail: the result is there."""

    async def full(_: AsyncContainer, body: bytes, keep: timedelta) -> str:
        message = f"no space for {len(body)} bytes, {keep}"
        raise OSError(message)

    async def locked(_: AsyncContainer, key: str) -> None:
        raise OSError(key)

    async with start(LargeValues(full, folder.get, folder.delete)) as service:
        with pytest.raises(OSError, match="no space"):
            await service.maths.text(0, "x" * LARGE)
    async with start(LargeValues(folder.put, folder.get, locked)) as service:
        assert len(await service.maths.text(LARGE)) == LARGE
        assert len(folder.files()) == 1


async def test_two_stores_are_one_too_many(start: Start, folder: Folder) -> None:
    with pytest.raises(ConfigurationError, match="two modules contribute `LargeValues`"):
        async with start(folder.port, folder.port):
            pass
