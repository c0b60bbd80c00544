"""A process with WebSockets, and a client that speaks their protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.infrastructure.live.service import PATIENCE, Api, serving


class Talk:
    """The client's side of a session."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def next(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await asyncio.wait_for(self.connection.recv(), PATIENCE))
        return found

    async def until(self, *kinds: str) -> dict[str, Any]:
        """Return the next message of one of the kinds."""
        while (message := await self.next())["type"] not in kinds:
            pass
        return message

    async def ask(self, kind: str, **members: Any) -> dict[str, Any]:
        """Send a command and return the answer to it."""
        await self.connection.send(json.dumps({"type": kind, "id": "1", **members}))
        return await self.until("ack", "error", "pong")

    async def numbers(self, count: int) -> list[int]:
        return [(await self.until("event"))["data"]["number"] for _ in range(count)]

    async def closed(self) -> int:
        """Wait for the end; return the code."""
        await asyncio.wait_for(self.connection.wait_closed(), PATIENCE)
        return self.connection.close_code or 0


@asynccontextmanager
async def talking(api: Api, query: str = "", **options: Any) -> AsyncIterator[Talk]:
    """Connect to a process."""
    url = f"ws://127.0.0.1:{api.port}/ws?{query}"
    options = {"proxy": None, "compression": None, **options}
    async with connect(url, **options) as connection:
        yield Talk(connection)


@pytest.fixture(scope="module")
async def process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A process with events of its own, and small limits."""
    env = {
        "EVENT_BUS_TRANSPORT": "local",
        "LIVE_HEARTBEAT": "0.3",
        "LIVE_REPLAY": "5",
        "LIVE_CLIENTS_PER_USER": "2",
        "LIVE_CHANNELS_PER_CLIENT": "3",
        "WEBSOCKET_ORIGINS": "https://shop.example.com",
        "WEBSOCKET_MAX_ERRORS": "3",
        "REDIS_EMBEDDED_DIR": str(tmp_path_factory.mktemp("r")),
    }
    async with serving(tmp_path_factory.mktemp("api"), env) as found:
        yield found


@pytest.fixture
async def api(process: Api) -> Api:
    """That process, when it has forgotten the clients of the test before: a user has two."""
    await process.until(clients=0)
    return process
