"""Fixtures for tests that use Redis.

A private Valkey per test process by default; `TEST_REDIS_URL` names a server to use instead. Each
test has a key prefix of its own, whose keys are deleted at its end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dishka import Provider, Scope
from pydantic import SecretStr
from redis.asyncio import Redis

from app.infrastructure.redis.address import Mode
from app.infrastructure.redis.client import build_client
from app.infrastructure.redis.embedded import EmbeddedServer
from app.infrastructure.redis.keys import KeySpace
from app.infrastructure.redis.server import Server
from app.infrastructure.redis.settings import RedisSettings

SERVER_VARIABLE = "TEST_REDIS_URL"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of the server tests use."""
    url = os.environ.get(SERVER_VARIABLE)
    if url:
        yield url
        return
    # A short path of its own: pytest's folders are too long for a socket file.
    folder = Path(tempfile.mkdtemp(prefix="valkey-"))
    try:
        with EmbeddedServer(folder, persistent=False) as server:
            yield f"unix://{server.path}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_settings(redis_url: str) -> RedisSettings:
    """Settings for the tests' server."""
    return RedisSettings(redis_url=SecretStr(redis_url))


@pytest.fixture
async def redis(redis_settings: RedisSettings) -> AsyncIterator[Redis]:
    """A client of the tests' server."""
    client = build_client(redis_settings, redis_settings.address, "test")
    yield client
    await client.aclose()


@pytest.fixture
async def keys(redis: Redis) -> AsyncIterator[KeySpace]:
    """Keys that belong to this test alone; deleted at its end."""
    space = KeySpace(f"test-{secrets.token_hex(8)}")
    yield space
    async for key in redis.scan_iter(match=f"{space.prefix}:*"):
        await redis.delete(key)


@pytest.fixture
def override_redis(redis_settings: RedisSettings, keys: KeySpace) -> Provider:
    """Lets the service under test use the tests' server, with the test's own keys."""
    assert redis_settings.address.mode is not Mode.EMBEDDED  # noqa: S101 - the tests' own server
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: Server(redis_settings), provides=Server, override=True)
    provider.provide(lambda: keys, provides=KeySpace, override=True)
    return provider
