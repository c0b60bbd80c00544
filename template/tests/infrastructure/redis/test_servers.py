"""The kinds of servers a URL may name, as real processes; and the module in the service."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dishka import AsyncContainer
from httpx2 import AsyncClient
from redis.asyncio import Redis

from app.core.container import build_container
from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings
from app.infrastructure.redis import KeySpace, Locks, PubSub, RedisUnavailableError
from app.infrastructure.redis.client import build_client, close_client
from app.infrastructure.redis.embedded import binary
from app.infrastructure.redis.module import module
from app.infrastructure.redis.settings import RedisSettings
from tests.ports import free_port

PASSWORD = "a-password-for-this-test"
PATIENCE = 60.0


@pytest.fixture
def servers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Servers of this test; stopped at its end."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start(servers: list[subprocess.Popen[bytes]], folder: Path, *words: str) -> int:
    """Start a server on a free port; return the port once it listens."""
    port = free_port()
    folder.mkdir(exist_ok=True)
    argv = [str(binary()), *words, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    servers.append(subprocess.Popen([*argv, "--save", ""], stdout=subprocess.DEVNULL))
    deadline = time.monotonic() + PATIENCE
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return port
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)


def settings_for(url: str) -> RedisSettings:
    return RedisSettings.model_validate({"redis_url": url, "redis_password": PASSWORD})


async def use(client: Redis) -> None:
    """Do a little of everything."""
    keys = KeySpace("test")
    await client.set(keys("a"), "1")
    assert await client.get(keys("a")) == "1"
    async with Locks(client, keys).lock("b") as held:
        assert held.token == 1


async def test_a_server_with_a_password(
    servers: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    port = start(servers, tmp_path, "--requirepass", PASSWORD)
    settings = settings_for(f"redis://127.0.0.1:{port}/1")
    client = build_client(settings, settings.address, "test")

    await use(client)
    async with PubSub(client, KeySpace("test")).subscribe("c", model=int) as messages:
        await PubSub(client, KeySpace("test")).publish("c", 5)
        assert (await asyncio.wait_for(anext(messages), PATIENCE)).data == 5
    await client.aclose()


async def is_whole(node: Any) -> bool:
    return "cluster_state:ok" in str(await node.execute_command("CLUSTER", "INFO"))


async def test_a_cluster(servers: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    # Its default would be the port plus 10,000, which may be no port at all.
    bus = ("--cluster-port", str(free_port()))
    port = start(servers, tmp_path, "--cluster-enabled", "yes", *bus, "--requirepass", PASSWORD)
    plain_settings = settings_for(f"redis://127.0.0.1:{port}/0")
    plain: Any = build_client(plain_settings, plain_settings.address, "test")
    await plain.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    async with asyncio.timeout(PATIENCE):
        while not await is_whole(plain):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
    await plain.aclose()
    settings = settings_for(f"redis+cluster://127.0.0.1:{port}")
    client = build_client(settings, settings.address, "test")

    await use(client)
    await client.aclose()


async def test_a_cluster_that_is_away_is_a_503() -> None:
    settings = settings_for(f"redis+cluster://127.0.0.1:{free_port()}")
    client = build_client(settings, settings.address, "test")

    with pytest.raises(RedisUnavailableError):
        async with Locks(client, KeySpace("test")).lock("a"):
            pass


async def test_who_finds_all_connections_in_use_waits(redis_url: str) -> None:
    settings = RedisSettings.model_validate({"redis_url": redis_url, "redis_max_connections": 2})
    client = build_client(settings, settings.address, "test")

    answers = await asyncio.gather(*(client.blpop(["nothing-here"], 0.05) for _ in range(10)))

    assert answers == [None] * 10
    await client.aclose()


async def test_a_primary_that_sentinels_name(
    servers: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    primary = start(servers, tmp_path / "primary", "--requirepass", PASSWORD)
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"sentinel monitor mymaster 127.0.0.1 {primary} 1\n"
        f"sentinel auth-pass mymaster {PASSWORD}\n",
        encoding="utf-8",
    )
    sentinel = start(servers, tmp_path / "sentinel", str(config), "--sentinel")
    settings = settings_for(f"redis+sentinel://127.0.0.1:{sentinel}/mymaster/0")
    client = build_client(settings, settings.address, "test")

    await use(client)
    await close_client(client)


async def test_a_wrong_password_keeps_the_service_from_starting(
    servers: list[subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = start(servers, tmp_path, "--requirepass", PASSWORD)
    monkeypatch.setenv("REDIS_URL", f"redis://:hunter2hunter2@127.0.0.1:{port}/0")
    registry, settings = Registry((module,)), load_settings([module])
    lifecycle = Lifecycle(registry, settings, build_container(registry, settings))

    with pytest.raises(ConfigurationError, match="REDIS_URL") as caught:
        await lifecycle.start()

    assert "hunter2hunter2" not in str(caught.value)


async def test_health_shows_redis(client: AsyncClient) -> None:
    answer = await client.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json()["checks"]["redis"]["status"] == "up"


async def test_keys_begin_with_the_tests_own_prefix(container: AsyncContainer) -> None:
    keys = await container.get(KeySpace)

    assert keys("a", "b").startswith("test-")
    assert keys.tagged("x", "lock") == f"{keys.prefix}:{{x}}:lock"
