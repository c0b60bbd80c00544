"""The service in a process of its own, and the page in a browser."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from httpx2 import AsyncClient, TransportError

from tests.modules.live_page.chromium import PATIENCE, open_page, program
from tests.ports import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("real_commits"),
]


@pytest.fixture
async def service(tmp_path: Path, test_database_url: str) -> AsyncIterator[AsyncClient]:
    """The service, in a process of its own."""
    port = free_port()
    env = {**os.environ, "DATABASE_URL": test_database_url, "EVENT_BUS_TRANSPORT": "local"}
    env |= {"DB_POOL_SIZE": "1", "DB_POOL_OVERFLOW": "0"}
    env |= {"PYTHONPATH": os.pathsep.join(sys.path), "REDIS_EMBEDDED_DIR": str(tmp_path / "r")}
    words = ("-m", "app", "serve", "--port", str(port))
    with (tmp_path / "api.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, env=env, cwd=tmp_path, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        async with AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
            async with asyncio.timeout(PATIENCE):
                while not await answers(http):
                    assert process.returncode is None, (tmp_path / "api.log").read_text()
                    await asyncio.sleep(0.1)
            yield http
    finally:
        if process.returncode is None:
            process.terminate()
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


async def answers(http: AsyncClient) -> bool:
    try:
        return (await http.get("/health/live")).status_code == 200
    except TransportError:
        return False


async def register(http: AsyncClient, name: str) -> None:
    person = {
        "name": f"<b>{name}</b>",
        "email": f"{name}@example.com",
        "password": "correct horse battery",
    }
    answer = await http.post("/users", json=person)
    assert answer.status_code == 201, answer.text


async def test_an_open_stream_holds_no_database_connection(service: AsyncClient) -> None:
    """There is one connection, and there are ten streams."""
    async with AsyncExitStack() as stack:
        for _ in range(10):
            stream = service.stream("GET", "/events?channels=users")
            assert (await stack.enter_async_context(stream)).status_code == 200
        await register(service, "ada")
        assert len((await service.get("/users")).json()["items"]) == 1


@pytest.mark.skipif(not program(), reason="no Chromium here: install it, or set TEST_CHROMIUM")
async def test_events_are_seen_as_they_happen(service: AsyncClient, tmp_path: Path) -> None:
    """Nothing is refused by the page's own policy; a script that is not its own is."""
    (tmp_path / "browser").mkdir()
    async with open_page(tmp_path / "browser") as page:
        await page.call("Page.navigate", url=f"{service.base_url}/live")
        await page.until("document.querySelector('#state')?.textContent === 'connected'")
        for number, name in enumerate(("ada", "bob"), 1):
            await register(service, name)
            await page.until(f"document.querySelector('#count').textContent === '{number}'")
        rows = await page.value(
            "[...document.querySelectorAll('#events tr')].map(row => row.cells[1].textContent)"
        )
        assert rows == ["user.registered", "user.registered"]
        assert "user_id" in await page.value(
            "document.querySelector('#events td:last-child').textContent"
        )
        assert page.complaints == []

        await page.value(
            "document.body.append(Object.assign(document.createElement('script'),"
            " {textContent: 'window.foreign = true'}))"
        )
        assert await page.value("window.foreign") is None
        assert any("Content Security Policy" in said for said in page.complaints)
