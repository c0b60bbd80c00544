"""Clients of Redis Cluster."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from app.infrastructure.redis import REDIS_ERRORS
from app.infrastructure.redis.client import build_client, close_client
from app.infrastructure.redis.settings import RedisSettings
from tests.infrastructure.redis.cluster import running_cluster

pytestmark = pytest.mark.slow
PATIENCE = 60.0
cluster = pytest.fixture(scope="module")(running_cluster)


async def test_closing_leaves_no_connection_after_a_command_that_failed(cluster: str) -> None:
    """redis-py is about to ask for the nodes again then, and takes itself for closed."""
    settings = RedisSettings(redis_url=SecretStr(cluster), redis_timeout=0.5, redis_retries=0)
    watcher: Any = build_client(settings, settings.address, "watcher")
    client: Any = build_client(settings, settings.address, "closing")

    async def connections() -> int:
        lists = await watcher.execute_command("CLIENT LIST", target_nodes="all")
        return sum(each["name"] == "closing" for found in lists.values() for each in found)

    with pytest.raises(REDIS_ERRORS):
        await client.execute_command("BZPOPMIN", "nothing", 5)
    assert await connections()

    await close_client(client)

    async with asyncio.timeout(PATIENCE):
        while await connections():  # noqa: ASYNC110 - servers notice by and by
            await asyncio.sleep(0.05)
    await close_client(watcher)
