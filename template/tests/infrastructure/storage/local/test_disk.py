"""What is on the disk: links, crashes, concurrent writers, a full disk."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from dishka import AsyncContainer

from app.core.errors import ConfigurationError
from app.infrastructure.storage import FileStorage, InvalidKeyError, StorageUnavailableError
from app.infrastructure.storage.content import Content
from app.infrastructure.storage.driver import Details
from app.infrastructure.storage.local.driver import FORGOTTEN, LocalDriver

WRITER = """
import asyncio, sys
from pathlib import Path
from app.infrastructure.storage.content import Content
from app.infrastructure.storage.driver import Details
from app.infrastructure.storage.local.driver import LocalDriver

async def main():
    driver = LocalDriver(Path(sys.argv[1]))
    await driver.start()
    word, number = sys.argv[2].encode(), 0
    while number < 100_000:
        number += 1
        content = Content(word * 50_000, 1 << 30)
        await content.begin()
        await driver.put("shared/file", content, Details(content_type=f"x/{sys.argv[2]}"))
        if number == 3:
            print("going", flush=True)
        await asyncio.sleep(0.005)

asyncio.run(main())
"""


@pytest.fixture
async def storage(container: AsyncContainer) -> FileStorage:
    """On the folder of the test."""
    return await container.get(FileStorage)


def left(folder: Path) -> list[str]:
    """Return the files on disk, but for locks."""
    return sorted(
        path.name for path in folder.rglob("*") if path.is_file() and "lock-" not in path.name
    )


async def test_a_link_leads_nowhere(
    storage: FileStorage, files_folder: Path, tmp_path: Path
) -> None:
    """A folder, a sidecar or a content that is a link is not followed, in no direction."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret", encoding="utf-8")
    await storage.put("real/file", b"x")
    (files_folder / "link").symlink_to(outside)
    (files_folder / "self").symlink_to(files_folder / "real")
    for key in ("link/secret", "link/new/file", "self/file", "link/a"):
        for attempt in (storage.put(key, b"escaped"), storage.get(key), storage.delete(key)):
            with pytest.raises(InvalidKeyError):
                await attempt
    (files_folder / "sidecar@.json").symlink_to(outside / "secret")
    with pytest.raises(StorageUnavailableError):
        await storage.get("sidecar")
    content = next((files_folder / "real").glob("file@[0-9a-f]*"))
    content.unlink()
    content.symlink_to(outside / "secret")
    with pytest.raises(StorageUnavailableError):
        await storage.get("real/file")
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert [file.key for file in (await storage.list("link")).files] == []


async def test_nothing_but_two_files_is_left_by_many_puts(
    storage: FileStorage, files_folder: Path
) -> None:
    await asyncio.gather(*(storage.put("a/b", str(n).encode() * 1000) for n in range(30)))
    assert len(left(files_folder)) == 2
    await storage.delete("a/b")
    assert left(files_folder) == []
    assert not (files_folder / "a").exists()


async def test_putting_and_deleting_in_one_folder_at_once(storage: FileStorage) -> None:
    """The folder comes and goes under the writers' feet."""

    async def come_and_go(name: str) -> None:
        for _ in range(20):
            await storage.put(f"a/b/{name}", name.encode())
            assert await storage.get(f"a/b/{name}") == name.encode()
            await storage.delete(f"a/b/{name}")

    await asyncio.gather(*(come_and_go(f"n{number}") for number in range(4)))
    assert (await storage.list()).files == ()


async def test_a_reader_keeps_the_version_it_opened(storage: FileStorage) -> None:
    await storage.put("a", b"old" * 1_000_000)
    async with storage.open("a") as download:
        await storage.put("a", b"new")
        await storage.delete("a")
        assert await download.read() == b"old" * 1_000_000


@pytest.mark.slow
async def test_killed_writers_leave_a_whole_file(tmp_path: Path) -> None:
    """Two processes write one key and are killed, three times: one version, with its own type."""
    folder = tmp_path / "files"
    reader = LocalDriver(folder)
    await reader.start()
    for _ in range(3):
        writers = [start_writer(folder, word) for word in ("aa", "bb")]
        try:
            for writer in writers:
                assert await asyncio.to_thread(writer.stdout.readline) == b"going\n"
            for _ in range(10):
                await assert_whole(reader)
        finally:
            for writer in writers:
                writer.kill()
                writer.communicate()
        await assert_whole(reader)


def start_writer(folder: Path, word: str) -> Any:
    """Start a process that writes one key again and again."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, folder, word],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "src"},
    )


async def assert_whole(reader: LocalDriver) -> None:
    """The content is of one writer, and so is the type."""
    async with reader.open("shared/file", 0, None) as download:
        word = download.info.content_type.removeprefix("x/")
        assert await download.read() == word.encode() * 50_000


async def test_what_a_crash_left_is_removed_a_day_later(tmp_path: Path) -> None:
    incoming = tmp_path / "files/.incoming"
    incoming.mkdir(parents=True)
    for name, age in (("old", FORGOTTEN + 60), ("young", 60), ("lock-1", FORGOTTEN + 60)):
        (incoming / name).touch()
        then = time.time() - age
        os.utime(incoming / name, (then, then))
    await LocalDriver(tmp_path / "files").start()
    # A lock stays: another process may hold it, and who makes a new one would not wait for that.
    assert sorted(path.name for path in incoming.iterdir()) == ["lock-1", "young"]


async def test_a_copy_of_an_old_file_is_not_taken_for_a_crash(
    storage: FileStorage, files_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shares the content, and so its time, while another process starts and cleans up."""
    await storage.put("a", b"x")
    then = time.time() - FORGOTTEN - 60
    content = next(name for name in left(files_folder) if not name.endswith(".json"))
    os.utime(files_folder / content, (then, then))
    commit = LocalDriver._commit

    def slow(driver: LocalDriver, *arguments: Any) -> None:
        asyncio.run(LocalDriver(files_folder).start())
        commit(driver, *arguments)

    monkeypatch.setattr(LocalDriver, "_commit", slow)
    await storage.copy("a", "b")
    assert await storage.get("b") == b"x"


async def test_a_disk_that_takes_no_more_is_unavailable(
    storage: FileStorage, files_folder: Path
) -> None:
    """And what was written until then is gone. A limit of the process stands for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(StorageUnavailableError):
            await storage.put("a", bytes(8 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(files_folder) == []


async def test_a_disk_that_is_full_at_the_end_is_unavailable(
    storage: FileStorage, files_folder: Path
) -> None:
    """Small pieces wait in a buffer, which is written once more when the file is closed."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(6 << 10):
            yield bytes(1025)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((5 << 20) + 10_000, before[1]))
    try:
        with pytest.raises(StorageUnavailableError):
            await storage.put("a", pieces())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(files_folder) == []


async def test_a_disk_without_room_for_the_sidecar_keeps_no_content(
    storage: FileStorage, files_folder: Path
) -> None:
    """The content is in its place by then; a file before stays as it was."""
    await storage.put("old", b"old")
    files = left(files_folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for key in ("old", "new/file"):
            with pytest.raises(StorageUnavailableError):
                await storage.put(key, b"x", metadata={"a": "b" * 1500})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(files_folder) == files
    assert await storage.get("old") == b"old"


async def test_a_file_put_while_it_is_moved_is_not_lost(
    storage: FileStorage, files_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is moved is the version there was; a newer one stays under its key."""
    await storage.put("a", b"old")
    copy = LocalDriver._copy

    def slow(driver: LocalDriver, source: str, target: str) -> Any:
        found = copy(driver, source, target)
        details = Details(content_type="x/y")
        asyncio.run(LocalDriver(files_folder).put("a", Content(b"new", 100), details))
        return found

    monkeypatch.setattr(LocalDriver, "_copy", slow)
    await storage.move("a", "b")
    assert (await storage.get("a"), await storage.get("b")) == (b"new", b"old")


async def test_a_folder_that_vanished_is_unavailable(
    storage: FileStorage, files_folder: Path
) -> None:
    shutil.rmtree(files_folder)
    with pytest.raises(StorageUnavailableError):
        await storage.put("a", b"x")
    assert not await storage.exists("a")


async def test_a_folder_that_cannot_be_made_is_said_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="FILE_STORAGE_LOCAL_DIR"):
        await LocalDriver(tmp_path / "file" / "files").start()


async def test_a_cancelled_put_leaves_nothing(storage: FileStorage, files_folder: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)
            await asyncio.sleep(0.001)

    task = asyncio.create_task(storage.put("a", endless()))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(files_folder) == []
