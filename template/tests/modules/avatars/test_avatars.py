"""Pictures of users: what is taken, what is kept, and that nothing is left."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from dishka import AsyncContainer
from fastapi import FastAPI
from httpx2 import AsyncClient
from PIL import Image
from sqlalchemy.ext.asyncio import AsyncSession

from app.infrastructure.database import transaction
from app.infrastructure.storage import FileStorage
from app.modules.avatars.service import AvatarService


class UndoError(Exception):
    """Ends a unit of work."""


USER = {"email": "ada@example.com", "name": "Ada", "password": "correct horse battery"}


def picture(kind: str = "PNG", size: tuple[int, int] = (640, 480), **options: object) -> bytes:
    written = BytesIO()
    Image.new("RGB", size, "teal").save(written, kind, **options)
    return written.getvalue()


def bomb(side: int) -> bytes:
    """Return a small PNG that says it has side x side pixels (PNG specification, IHDR)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(1 << 20))), chunk(b"IEND", b""))
    )


@pytest.fixture
async def address(client: AsyncClient) -> str:
    """Where the picture of a new user is."""
    created = await client.post("/users", json=USER)
    assert created.status_code == 201
    return f"/users/{created.json()['id']}/avatar"


@pytest.fixture
async def storage(container: AsyncContainer) -> FileStorage:
    return await container.get(FileStorage)


async def keys(storage: FileStorage) -> list[str]:
    return [file.key for file in (await storage.list()).files]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_is_kept_as_our_own_webp(
    client: AsyncClient, address: str, kind: str
) -> None:
    """The type said by the client does not matter, the content does."""
    put = await client.put(address, content=picture(kind), headers={"Content-Type": "text/html"})
    assert put.status_code == 204

    got = await client.get(address)
    assert (got.status_code, got.headers["content-type"]) == (200, "image/webp")
    kept = Image.open(BytesIO(got.content))
    assert (kept.format, kept.size) == ("WEBP", (512, 384))
    etag = {"If-None-Match": got.headers["etag"]}
    assert (await client.get(address, headers=etag)).status_code == 304


async def test_place_and_camera_stay_behind(client: AsyncClient, address: str) -> None:
    """And the picture is turned as the camera was (EXIF orientation 6)."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a planted camera"
    hidden: dict[str, Any] = {
        "exif": exif,
        "comment": b"planted",
        "icc_profile": b"planted" * 9,
        "xmp": b"planted",
    }
    await client.put(address, content=picture("JPEG", (640, 480), **hidden) + b"a planted trailer")
    got = (await client.get(address)).content
    assert b"planted" not in got
    kept = Image.open(BytesIO(got))
    assert (kept.size, dict(kept.getexif())) == ((384, 512), {})


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 415),
        (b"<html><script>alert(1)</script>", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (picture("GIF"), 415),
        (picture("BMP"), 415),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 415),
        (picture()[:200], 415),
        (b"GIF89a" + picture(), 415),
        (bomb(6_000), 413),
        (bomb(20_000), 413),
        (bomb(2_000_000), 413),
        (bytes(5 * 1024 * 1024 + 1), 413),
    ],
)
async def test_what_is_no_fair_picture_is_refused(
    client: AsyncClient, address: str, storage: FileStorage, content: bytes, status: int
) -> None:
    """By its content: nothing is unpacked that would not fit, nothing is kept."""
    answer = await client.put(address, content=content, headers={"Content-Type": "image/png"})
    assert answer.status_code == status
    assert await keys(storage) == []
    assert (await client.get(address)).status_code == 404


async def test_a_new_picture_replaces_the_files(
    client: AsyncClient, address: str, storage: FileStorage
) -> None:
    await client.put(address, content=picture())
    before = await keys(storage)
    await client.put(address, content=picture(size=(100, 100)))
    after = await keys(storage)
    assert len(before) == len(after) > 0
    assert not {*before} & {*after}
    assert Image.open(BytesIO((await client.get(address)).content)).size == (100, 100)


async def test_deleting_the_picture_deletes_the_files(
    client: AsyncClient, address: str, storage: FileStorage
) -> None:
    await client.put(address, content=picture())
    for _ in range(2):
        assert (await client.delete(address)).status_code == 204
    assert (await client.get(address)).status_code == 404
    assert await keys(storage) == []


async def test_the_files_go_with_the_user(
    client: AsyncClient, address: str, storage: FileStorage
) -> None:
    await client.put(address, content=picture())
    assert (await client.delete(address.removesuffix("/avatar"))).status_code == 204
    assert await keys(storage) == []
    assert (await client.get(address)).status_code == 404


async def test_a_row_that_is_rolled_back_leaves_no_file_and_takes_none(
    client: AsyncClient, address: str, storage: FileStorage, app: FastAPI
) -> None:
    """The file of the undone row goes, the one of the row before stays."""
    await client.put(address, content=picture())
    before = await keys(storage)
    user_id = UUID(address.split("/")[2])

    with pytest.raises(UndoError):
        async with app.state.dishka_container() as scope:
            await (await scope.get(AvatarService)).store(user_id, picture())
            assert len(await keys(storage)) == len(before) + 1
            raise UndoError
    assert await keys(storage) == before
    assert (await client.get(address)).status_code == 200


async def test_an_undone_savepoint_takes_its_file_along(
    client: AsyncClient, address: str, storage: FileStorage, app: FastAPI
) -> None:
    """Though the unit of work around it is committed; and the files it would have deleted stay."""
    await client.put(address, content=picture())
    before = await keys(storage)
    user_id = UUID(address.split("/")[2])
    async with app.state.dishka_container() as scope:
        session = await scope.get(AsyncSession)
        avatars = await scope.get(AvatarService)
        with pytest.raises(UndoError):
            async with transaction(session):
                await avatars.store(user_id, picture())
                raise UndoError
    assert await keys(storage) == before
    assert (await client.get(address)).status_code == 200


async def test_an_upload_that_breaks_off_leaves_nothing(
    storage: FileStorage, address: str, app: FastAPI
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield picture()[:1000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        async with app.state.dishka_container() as scope:
            await (await scope.get(AvatarService)).store(UUID(address.split("/")[2]), broken())
    assert await keys(storage) == []


async def test_a_slow_upload_holds_no_connection_of_the_database(
    address: str, app: FastAPI
) -> None:
    """As many as the pool has would stop the service; the sender decides how long it takes."""
    async with app.state.dishka_container() as scope:
        session = await scope.get(AsyncSession)
        seen: list[bool] = []

        async def slow() -> AsyncIterator[bytes]:
            data = picture()
            for part in (data[:100], data[100:]):
                seen.append(session.in_transaction())
                yield part

        await (await scope.get(AvatarService)).store(UUID(address.split("/")[2]), slow())
    assert seen == [False, False]


async def test_nobody_has_no_picture(client: AsyncClient, storage: FileStorage) -> None:
    nobody = f"/users/{uuid4()}/avatar"
    assert (await client.put(nobody, content=picture())).status_code == 404
    assert (await client.get(nobody)).status_code == 404
    assert await keys(storage) == []


async def test_the_full_picture_stands_in_for_a_thumbnail(
    client: AsyncClient, address: str, app: FastAPI
) -> None:
    """Until it is made; at once, where no worker is to do it."""
    await client.put(address, content=picture())
    small = await client.get(address, params={"size": "thumbnail"})
    assert small.status_code == 200
    async with app.state.dishka_container() as scope:
        avatars = await scope.get(AvatarService)
        user_id = UUID(address.split("/")[2])
        key = (await avatars.find(user_id)).key
        await avatars.make_thumbnail(user_id, key)
        await avatars.make_thumbnail(user_id, key)
        await avatars.make_thumbnail(user_id, "avatars/of/another.webp")
        await avatars.make_thumbnail(uuid4(), key)
    small = await client.get(address, params={"size": "thumbnail"})
    assert Image.open(BytesIO(small.content)).size == (96, 72)
