"""Thumbnails come from a worker, with the commit."""

from __future__ import annotations

from io import BytesIO

from httpx2 import AsyncClient
from PIL import Image

from app.infrastructure.deferred.testing import RecordedCalls, RunJobs

USER = {"email": "ada@example.com", "name": "Ada", "password": "correct horse battery"}


async def upload(client: AsyncClient) -> str:
    created = await client.post("/users", json=USER)
    address = f"/users/{created.json()['id']}/avatar"
    written = BytesIO()
    Image.new("RGB", (640, 480), "teal").save(written, "PNG")
    assert (await client.put(address, content=written.getvalue())).status_code == 204
    return address


async def test_a_new_picture_defers_one_call(deferred: RecordedCalls, client: AsyncClient) -> None:
    address = await upload(client)
    # Other features may defer calls of their own for a new user.
    assert [str(call) for call in deferred.calls if "make_thumbnail" in str(call)]
    full, small = [await client.get(address, params={"size": s}) for s in ("full", "thumbnail")]
    assert full.content == small.content


async def test_a_worker_makes_the_thumbnail(client: AsyncClient, run_jobs: RunJobs) -> None:
    address = await upload(client)
    await run_jobs()
    small = await client.get(address, params={"size": "thumbnail"})
    assert Image.open(BytesIO(small.content)).size == (96, 72)
