"""On a cluster: one script for the keys of a slot."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.crc import key_slot

from app.infrastructure.rate_limiter.limits import By, limit
from app.infrastructure.rate_limiter.rates import Policy, Rate
from app.infrastructure.rate_limiter.store import Hit, RedisStore
from app.infrastructure.redis import REDIS_ERRORS, KeySpace
from app.infrastructure.redis.client import build_client
from app.infrastructure.redis.embedded import binary
from app.infrastructure.redis.settings import RedisSettings
from tests.infrastructure.rate_limiter.conftest import PATIENCE, redis_store
from tests.ports import free_port


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[RedisSettings]:
    """A cluster of one node, which minds slots as one of many does."""
    port = free_port()
    words = ["--port", str(port), "--cluster-port", str(free_port()), "--cluster-enabled", "yes"]
    argv = [str(binary()), *words, "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL)
    plain = RedisSettings(redis_url=SecretStr(f"redis://127.0.0.1:{port}/0"))
    client: Any = build_client(plain, plain.address, "test")
    async with asyncio.timeout(PATIENCE):
        while not await answers(client):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        while not await is_whole(client):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
    await client.aclose()
    yield RedisSettings(redis_url=SecretStr(f"redis+cluster://127.0.0.1:{port}"))
    process.kill()
    await process.wait()


async def is_whole(client: Any) -> bool:
    return "cluster_state:ok" in str(await client.execute_command("CLUSTER", "INFO"))


async def answers(client: Any) -> bool:
    try:
        return bool(await client.ping())
    except REDIS_ERRORS:
        return False


@pytest.fixture
async def store(cluster: RedisSettings) -> AsyncIterator[RedisStore]:
    """Counts in the cluster."""
    made = redis_store(cluster, KeySpace("test"))
    await made.start()
    yield made
    await made.stop()


async def test_limits_of_a_caller_lie_in_one_slot_and_are_counted_together(
    store: RedisStore,
) -> None:
    hits = [
        Hit(policy, KeySpace("test").tagged("address=192.0.2.1", "limit", policy.kind))
        for policy in limit("3/minute;9/hour", by=By.ADDRESS).policies
    ]
    assert len({key_slot(hit.key.encode()) for hit in hits}) == 1

    admitted = [all(v.fits for v in await store.hit(hits)) for _ in range(5)]
    assert admitted == [True] * 3 + [False] * 2
    assert [v.left for v in await store.hit(hits)] == [0, 6]


async def test_limits_in_several_slots_are_all_asked(store: RedisStore) -> None:
    """Each slot counts for itself: what one refuses the other has counted."""
    keys = KeySpace("test")
    mine = Hit(Policy("mine", Rate(2, 60)), keys.tagged("a", "limit"))
    all_of_us = Hit(Policy("ours", Rate(9, 60)), keys.tagged("b", "limit"))
    assert key_slot(mine.key.encode()) != key_slot(all_of_us.key.encode())

    verdicts = [await store.hit([mine, all_of_us]) for _ in range(4)]

    assert [(v.policy.name, v.fits) for v in verdicts[-1]] == [("mine", False), ("ours", True)]
    assert verdicts[-1][1].left == 5
