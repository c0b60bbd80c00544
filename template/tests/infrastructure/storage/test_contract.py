"""What every driver does, on a real server of its kind."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from urllib.parse import urlsplit

import pytest
from dishka import AsyncContainer
from fastapi import UploadFile

from app.infrastructure.storage import (
    ChecksumMismatchError,
    FileStorage,
    FileTooLargeError,
    InvalidDetailsError,
    RangeNotSatisfiableError,
    StoredFileNotFoundError,
)
from app.infrastructure.storage.module import check

TEXT = b"All the world's a stage"
MIB = 1 << 20


async def chunks(count: int, error: BaseException | None = None) -> AsyncIterator[bytes]:
    for number in range(count):
        yield bytes([number % 256]) * MIB
    if error:
        raise error


async def keys(storage: FileStorage, prefix: str = "") -> list[str]:
    return [file.key for file in (await storage.list(prefix)).files]


async def test_a_file_comes_back_with_its_details(storage: FileStorage) -> None:
    metadata = {"source_name": "Ünïcode 😀 100%.txt", "empty": "", "spaces": " two  between "}
    put = await storage.put("a/b.txt", TEXT, metadata=metadata)

    assert await storage.get("a/b.txt") == TEXT
    head = await storage.head("a/b.txt")
    assert (head.key, head.size, head.content_type) == ("a/b.txt", len(TEXT), "text/plain")
    assert head.metadata == put.metadata == metadata
    assert head.checksum == put.checksum == hashlib.sha256(TEXT).hexdigest()
    assert head.etag == put.etag != ""
    assert abs(head.modified_at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_the_type_is_what_was_said_or_guessed_or_bytes(storage: FileStorage) -> None:
    await storage.put("said.png", b"x", content_type="text/csv; charset=utf-8")
    await storage.put("guessed.webp", b"x")
    await storage.put("nobody-knows", b"x")

    found = [(await storage.head(key)).content_type for key in await keys(storage)]
    assert found == ["image/webp", "application/octet-stream", "text/csv; charset=utf-8"]


async def test_an_upload_of_a_form_is_put(storage: FileStorage) -> None:
    info = await storage.put("form.bin", UploadFile(BytesIO(TEXT), filename="form.bin"))
    assert info.size == len(TEXT)
    assert await storage.get("form.bin") == TEXT


async def test_nothing_is_a_file_too(storage: FileStorage) -> None:
    await storage.put("empty", b"")
    assert (await storage.get("empty"), (await storage.head("empty")).size) == (b"", 0)


async def test_a_stream_larger_than_a_part_arrives_whole(storage: FileStorage) -> None:
    digest = hashlib.sha256(b"".join([chunk async for chunk in chunks(20)])).hexdigest()
    info = await storage.put("large", chunks(20), content_type="x/y", metadata={"a": "b"})

    assert (info.size, info.checksum) == (20 * MIB, digest)
    async with storage.open("large") as download:
        read = hashlib.sha256()
        async for chunk in download:
            read.update(chunk)
    assert read.hexdigest() == digest
    head = await storage.head("large")
    assert (head.size, head.content_type, head.metadata) == (20 * MIB, "x/y", {"a": "b"})


async def test_putting_again_replaces_the_file_and_its_details(storage: FileStorage) -> None:
    first = await storage.put("a", b"one", metadata={"n": "1"})
    second = await storage.put("a", b"two", content_type="x/y")

    head = await storage.head("a")
    assert (await storage.get("a"), head.content_type, head.metadata) == (b"two", "x/y", {})
    assert first.etag != second.etag == head.etag


@pytest.mark.parametrize("size", [1, 12])
async def test_too_much_is_refused_and_nothing_is_kept(storage: FileStorage, size: int) -> None:
    with pytest.raises(FileTooLargeError):
        await storage.put("a", chunks(size), max_size=size * MIB - 1)
    assert not await storage.exists("a")
    assert (await storage.put("a", chunks(size), max_size=size * MIB)).size == size * MIB


@pytest.mark.parametrize("size", [1, 12])
async def test_another_content_than_announced_is_refused(storage: FileStorage, size: int) -> None:
    """The old file stays as it was."""
    await storage.put("a", b"old")
    with pytest.raises(ChecksumMismatchError):
        await storage.put("a", chunks(size), checksum=hashlib.sha256(b"other").hexdigest())
    assert await storage.get("a") == b"old"


async def test_an_announced_checksum_stays_with_a_large_file(storage: FileStorage) -> None:
    digest = hashlib.sha256(b"".join([chunk async for chunk in chunks(12)])).hexdigest()
    await storage.put("a", chunks(12), checksum=digest)
    assert (await storage.head("a")).checksum == digest


@pytest.mark.parametrize("size", [1, 12])
async def test_a_stream_that_breaks_leaves_nothing(storage: FileStorage, size: int) -> None:
    with pytest.raises(ConnectionResetError):
        await storage.put("a", chunks(size, ConnectionResetError()))
    assert await keys(storage) == []


@pytest.mark.parametrize("size", [1, 20])
async def test_a_cancelled_upload_leaves_nothing(storage: FileStorage, size: int) -> None:
    waiting = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        async for chunk in chunks(size):
            yield chunk
        waiting.set()
        await asyncio.sleep(3600)

    task = asyncio.create_task(storage.put("a", stalled()))
    await asyncio.wait_for(waiting.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 60)
    assert await keys(storage) == []


async def test_a_part_of_a_file_is_read(storage: FileStorage) -> None:
    await storage.put("a", TEXT)
    for start, end in ((0, 3), (4, 7), (4, None), (22, 23), (20, 1000)):
        async with storage.open("a", start, end) as part:
            assert await part.read() == TEXT[start:end]
            assert (part.start, part.end) == (start, min(end or len(TEXT), len(TEXT)))
            assert part.info.size == len(TEXT)


async def test_a_part_of_nothing_is_refused(storage: FileStorage) -> None:
    """Its start is at the end of the file, on each driver."""
    await storage.put("a", b"")
    with pytest.raises(RangeNotSatisfiableError):
        async with storage.open("a", 0, 5):
            pass


async def test_a_part_behind_the_end_is_refused(storage: FileStorage) -> None:
    await storage.put("a", TEXT)
    for start, end in ((len(TEXT), None), (100, 200)):
        with pytest.raises(RangeNotSatisfiableError) as caught:
            async with storage.open("a", start, end):
                pass
        assert caught.value.headers == {"Content-Range": f"bytes */{len(TEXT)}"}


async def test_what_is_not_there_is_not_found(storage: FileStorage) -> None:
    assert not await storage.exists("nobody")
    for asked in (
        storage.get("nobody"),
        storage.head("nobody"),
        storage.copy("nobody", "x"),
        storage.move("nobody", "x"),
        storage.copy("nobody", "nobody"),
    ):
        with pytest.raises(StoredFileNotFoundError):
            await asked


async def test_a_file_too_large_for_memory_is_not_read_into_it(storage: FileStorage) -> None:
    await storage.put("a", TEXT)
    with pytest.raises(FileTooLargeError):
        await storage.get("a", max_size=len(TEXT) - 1)


async def test_a_copy_has_all_details_and_a_life_of_its_own(storage: FileStorage) -> None:
    await storage.put("a/b", TEXT, content_type="x/y", metadata={"n": "1"})
    await storage.put("c", b"replaced")
    await storage.copy("a/b", "c")
    await storage.copy("a/b", "d/e/f")
    await storage.put("a/b", b"changed since")

    for key in ("c", "d/e/f"):
        head = await storage.head(key)
        assert await storage.get(key) == TEXT
        assert (head.content_type, head.metadata) == ("x/y", {"n": "1"})
        assert head.checksum == hashlib.sha256(TEXT).hexdigest()


async def test_a_moved_file_is_where_it_went_only(storage: FileStorage) -> None:
    await storage.put("a", TEXT, content_type="x/y")
    await storage.move("a", "b/c")
    await storage.move("b/c", "b/c")
    assert await keys(storage) == ["b/c"]
    assert (await storage.head("b/c")).content_type == "x/y"


async def test_deleting_may_be_repeated(storage: FileStorage) -> None:
    for key in ("a", "b", "c"):
        await storage.put(key, TEXT)
    await storage.delete("a", "nobody", "b", "a")
    await storage.delete("a")
    await storage.delete()
    assert await keys(storage) == ["c"]


async def test_many_are_deleted_in_batches(storage: FileStorage) -> None:
    names = [f"n/{number:03}" for number in range(120)]
    await asyncio.gather(*(storage.put(name, b"x") for name in names))
    await storage.delete("nobody", *names)
    assert await keys(storage) == []


async def test_files_are_listed_in_the_order_of_keys_page_by_page(storage: FileStorage) -> None:
    """Also where one key is the folder of another, and where names sort around the slash."""
    names = ["a", "a-b", "a.b/x", "a/b", "a/b/c", "a/c", "a0", "b/a/a", "b/a/b", "c"]
    for name in reversed(names):
        await storage.put(name, b"x")

    for limit in (1, 2, 3, 100):
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await storage.list(after=after, limit=limit)
            assert len(page.files) <= limit
            found += [file.key for file in page.files]
            after = page.next
        assert found == sorted(names)
    assert await keys(storage, "a") == ["a/b", "a/b/c", "a/c"]
    assert await keys(storage, "b/a/") == ["b/a/a", "b/a/b"]
    assert await keys(storage, "nobody") == []
    listed = (await storage.list("c", limit=1)).files + (await storage.list(after="b/a/b")).files
    head = await storage.head("c")
    assert [(f.key, f.size, f.etag) for f in listed] == [("c", 1, head.etag)]


async def test_a_signed_url_gives_the_file_to_anybody(storage: FileStorage) -> None:
    """Of a cloud it leads there. What the service serves itself is in `test_routes.py`."""
    await storage.put("a/b c.txt".replace(" ", "+"), TEXT, content_type="x/y")
    url = await storage.signed_url("a/b+c.txt", timedelta(minutes=5))
    if url.startswith("/files/"):
        return
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, TEXT)
    assert answer.getheader("Content-Type") == "x/y"
    connection.close()


@pytest.mark.parametrize("seconds", [-1, 0, 7 * 86_400 + 1])
async def test_nothing_is_signed_for_ever(storage: FileStorage, seconds: int) -> None:
    expires = timedelta(seconds=seconds)
    with pytest.raises(ValueError, match="one second to 7 days"):
        await storage.signed_url("a", expires)
    with pytest.raises(ValueError, match="one second to 7 days"):
        await storage.signed_upload("a", content_type="x/y", max_size=1, expires=expires)


@pytest.mark.parametrize(
    ("content_type", "metadata", "checksum"),
    [
        ("nonsense", {}, None),
        ("x/y\r\nSet-Cookie: a=b", {}, None),
        ("x/y; é", {}, None),
        ("x/y", {"UPPER": "x"}, None),
        ("x/y", {"two-words": "x"}, None),
        ("x/y", {"sha256": "x"}, None),
        ("x/y", {"a": "b\r\nc: d"}, None),
        ("x/y", {"a": "\ud800"}, None),
        ("x/y", {"a": "é" * 400}, None),
        ("x/y", {"a": " " * 700}, None),
        ("x/y", {}, "ABC"),
    ],
)
async def test_details_no_cloud_takes_are_refused_by_all(
    storage: FileStorage, content_type: str, metadata: dict[str, str], checksum: str | None
) -> None:
    with pytest.raises(InvalidDetailsError):
        await storage.put(
            "a", b"x", content_type=content_type, metadata=metadata, checksum=checksum
        )


async def test_health_says_which_driver_it_is(
    storage_container: AsyncContainer, place: str
) -> None:
    report = await check(storage_container)
    assert (report.status, report.details) == ("up", {"driver": place})
