"""Several processes, a Redis of their own, clients that do not read, and the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from app.infrastructure.redis.embedded import EmbeddedServer
from tests.infrastructure.live.service import PATIENCE, Api, serving, shared
from tests.infrastructure.websockets.conftest import Talk, talking

pytestmark = pytest.mark.slow
CLIENTS = 60
EVENTS = 40
LARGE = 200_000


async def follow(
    api: Api, stack: AsyncExitStack, clients: int, channels: str = "ticks"
) -> list[Talk]:
    query = f"channels={channels}"
    talks = [await stack.enter_async_context(talking(api, query)) for _ in range(clients)]
    for talk in talks:
        await talk.until("hello")
    return talks


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second server."""
    with EmbeddedServer(tmp_path_factory.mktemp("v"), persistent=False) as server:
        yield f"unix://{server.path}"


@pytest.mark.parametrize("way", ["bus", "own"])
async def test_every_client_of_every_process_gets_every_event_once(
    redis_url: str, own_server: str, way: str, tmp_path: Path
) -> None:
    """Over the event bus, or over a Redis of their own with a bus that reaches no other process."""
    env = {**shared(redis_url), "LIVE_CLIENTS_PER_ADDRESS": "1000"}
    if way == "own":
        env |= {"WEBSOCKET_REDIS_URL": own_server, "EVENT_BUS_TRANSPORT": "local"}
    async with (
        serving(tmp_path, env) as one,
        serving(tmp_path, env) as two,
        AsyncExitStack() as stack,
    ):
        talks = await follow(one, stack, CLIENTS // 2) + await follow(two, stack, CLIENTS // 2)
        await asyncio.gather(
            one.publish(first=1, count=EVENTS), two.publish(first=EVENTS + 1, count=EVENTS)
        )
        got = await asyncio.gather(*(talk.numbers(2 * EVENTS) for talk in talks))
        # Nothing else has come.
        await one.publish(first=0)
        assert [await talk.numbers(1) for talk in talks] == [[0]] * CLIENTS
    orders = {tuple(numbers) for numbers in got}
    assert len(orders) == 1
    assert sorted(orders.pop()) == list(range(1, 2 * EVENTS + 1))


async def test_who_publishes_is_not_held_up_by_a_redis_that_is_gone(
    redis_url: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What was lost is counted and shown."""
    folder = tmp_path_factory.mktemp("v")
    env = {**shared(redis_url), "EVENT_BUS_TRANSPORT": "local"}
    with EmbeddedServer(folder, persistent=False) as server:
        env["WEBSOCKET_REDIS_URL"] = f"unix://{server.path}"
        async with serving(tmp_path, env) as api, talking(api, "channels=ticks") as talk:
            await talk.until("hello")
            server.release()
            async with asyncio.timeout(PATIENCE):
                await asyncio.to_thread(gone, server.path)
                await api.publish(count=20)
            report: dict[str, Any] = {}
            async with asyncio.timeout(PATIENCE):
                while report.get("status") != "degraded":  # reports are kept for a moment
                    report = (await api.http.get("/health")).json()["checks"]["websockets"]
                    await asyncio.sleep(0.2)
            assert report["details"] == {"lost": 20}
            assert await api.end() == 0
    assert "WebSockets miss events" in api.log.read_text()


def gone(path: Path) -> None:
    """Wait until a server has ended."""
    while path.exists():
        time.sleep(0.05)


async def test_a_client_that_does_not_read_is_cut_off_and_nobody_else(tmp_path: Path) -> None:
    env = {"EVENT_BUS_TRANSPORT": "local", "LIVE_BUFFER": "10", "REDIS_EMBEDDED_DIR": str(tmp_path)}
    async with (
        serving(tmp_path, env) as api,
        talking(api, "channels=ticks") as good,
        # It takes a handful of messages from the socket, and no more before they are read.
        talking(api, "channels=ticks", max_queue=1, ping_interval=None) as stuck,
    ):
        await good.until("hello")
        numbers: list[int] = []
        for first in range(1, 81, 5):
            await api.publish(first=first, count=5, padding=LARGE)
            numbers += await good.numbers(5)
        assert numbers == list(range(1, 81))
        await api.until(clients=1, too_slow=1)
        stuck.connection.transport.abort()


async def test_the_process_ends_while_clients_are_connected(tmp_path: Path) -> None:
    """They are told to come back; one that does not read is not waited for."""
    env = {"EVENT_BUS_TRANSPORT": "local", "SHUTDOWN_GRACE": "90"}
    env |= {"LIVE_BUFFER": "100000", "REDIS_EMBEDDED_DIR": str(tmp_path)}
    async with serving(tmp_path, env) as api, AsyncExitStack() as stack:
        talks = await follow(api, stack, 20, "ticks:small")
        quiet = talking(api, "channels=ticks", max_queue=1, ping_interval=None)
        stuck = await stack.enter_async_context(quiet)
        await api.publish(count=80, padding=LARGE)
        assert await api.end() == 0  # long before SHUTDOWN_GRACE is over
        assert {await talk.closed() for talk in talks} == {1012}
        stuck.connection.transport.abort()
