"""Redis hangs, dies, comes back: what is open passes, what is closed does not, soon."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from dishka import Provider, Scope
from httpx2 import Response
from pydantic import SecretStr
from redis.asyncio import Redis

from app.infrastructure.rate_limiter.errors import LimiterDownError
from app.infrastructure.rate_limiter.rates import Policy, Rate
from app.infrastructure.rate_limiter.store import Hit, RedisStore, Store
from app.infrastructure.redis import KeySpace
from app.infrastructure.redis.client import build_client
from app.infrastructure.redis.settings import RedisSettings
from tests.infrastructure.rate_limiter.conftest import (
    PATIENCE,
    Client,
    Serve,
    Valkey,
    redis_store,
)

HIT = Hit(Policy("p", Rate(1000, 60)), "app:{a}:limit")
TIMEOUT = 0.5
"""Ten times that of production: of a busy machine, it should make no outage."""
OUTAGE, BACK = "can't be counted", "are counted again"


def settings_of(valkey: Valkey) -> RedisSettings:
    return RedisSettings(redis_url=SecretStr(valkey.url))


@pytest.fixture
async def fragile(valkey: Valkey, keys: KeySpace) -> AsyncIterator[RedisStore]:
    """A store whose server the test may harm."""
    store = redis_store(settings_of(valkey), keys, rate_limit_timeout=TIMEOUT)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
async def client(serve: Serve, fragile: RedisStore) -> AsyncIterator[Client]:
    """The service, whose limits count at that server, and nothing else of it."""
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: fragile, provides=Store, override=True)
    async with serve(provider) as made:
        yield made


async def login(client: Client) -> Response:
    return await client.post("/probe/login", json={"email": "ada@example.com"})


async def until_counted(client: Client) -> None:
    """Wait until answers tell what is left."""
    async with asyncio.timeout(PATIENCE):
        while "ratelimit" not in (await client.get("/probe/plain/1")).headers:  # noqa: ASYNC110 - as a client sees it
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("harm", ["hangs", "dies"])
async def test_open_limits_let_pass_and_closed_ones_refuse(
    client: Client, valkey: Valkey, harm: str, log_lines: list[dict[str, Any]]
) -> None:
    """After the first, nobody waits; when it is back, requests are counted again by themselves."""
    assert (await login(client)).status_code == 200
    if harm == "hangs":
        valkey.send(signal.SIGSTOP)
    else:
        valkey.kill()
    began = time.monotonic()
    opened = [await client.get("/probe/plain/1") for _ in range(20)]
    closed = [await login(client) for _ in range(20)]
    took = time.monotonic() - began

    assert {answer.status_code for answer in opened} == {200}
    assert {answer.headers["ratelimit-policy"] for answer in opened} == {'"default";q=100;w=60'}
    assert not any("ratelimit" in answer.headers for answer in opened)
    assert {answer.status_code for answer in closed} == {503}
    problem = closed[0].json()
    assert problem["type"] == "/problems/temporary-reduced-capacity"
    assert problem["violated-policies"] == ["login"]
    assert closed[0].headers["retry-after"] == "1"
    # 40 waits would be 20 seconds; one is what there should be.
    assert took < 20 * TIMEOUT
    health = (await client.get("/health")).json()
    assert health["checks"]["rate_limiter"]["status"] == "degraded"

    if harm == "hangs":
        valkey.send(signal.SIGCONT)
    else:
        valkey.start()
    await until_counted(client)
    assert (await login(client)).status_code == 200
    messages = [line["message"] for line in log_lines]
    assert len([text for text in messages if OUTAGE in text]) == 1
    assert len([text for text in messages if BACK in text]) == 1


async def test_many_requests_at_once_wait_for_one_timeout_together(
    fragile: RedisStore, valkey: Valkey
) -> None:
    valkey.send(signal.SIGSTOP)
    began = time.monotonic()
    results = await asyncio.gather(
        *(fragile.hit([HIT]) for _ in range(200)), return_exceptions=True
    )

    assert all(isinstance(result, LimiterDownError) for result in results)
    assert time.monotonic() - began < 20 * TIMEOUT  # and not 200
    valkey.send(signal.SIGCONT)


async def test_a_connection_that_was_lost_is_no_outage(
    valkey: Valkey, keys: KeySpace, log_lines: list[dict[str, Any]]
) -> None:
    """It is made again before the request gives up."""
    store = redis_store(settings_of(valkey), keys)
    await store.start()
    fast = store._fast
    assert fast is not None
    assert fast._connection is not None
    fast._connection.transport.abort()  # type: ignore[union-attr] # it is connected
    await asyncio.sleep(0.01)

    assert (await store.hit([HIT]))[0].fits
    assert not store.down
    assert not any(OUTAGE in line["message"] for line in log_lines)
    await store.stop()


@pytest.fixture
async def admin(valkey: Valkey) -> AsyncIterator[Redis]:
    """A client of the server to be harmed."""
    settings = settings_of(valkey)
    client = build_client(settings, settings.address, "test")
    yield client
    await client.aclose()


async def test_a_server_that_can_not_write_is_an_outage_until_it_can(
    fragile: RedisStore, admin: Redis
) -> None:
    """One that is full answers a PING, and counts nothing."""
    await admin.config_set("maxmemory", "1")
    for _ in range(3):
        with pytest.raises(LimiterDownError):
            await fragile.hit([HIT])
        await asyncio.sleep(0.1)
    assert fragile.down

    await admin.config_set("maxmemory", "0")
    async with asyncio.timeout(PATIENCE):
        while fragile.down:  # noqa: ASYNC110 - as a request would see it
            await asyncio.sleep(0.05)
    assert (await fragile.hit([HIT]))[0].fits


async def test_a_loop_that_stood_still_is_no_outage(fragile: RedisStore) -> None:
    """What was answered meanwhile is read before the clock is looked at."""

    async def hold_up() -> None:
        await asyncio.sleep(0)
        time.sleep(3 * TIMEOUT)  # noqa: ASYNC251 - that is the point

    results = await asyncio.gather(fragile.hit([HIT]), hold_up(), fragile.hit([HIT]))

    assert results[0][0].fits
    assert not fragile.down


async def test_stopping_in_an_outage_ends_what_looks_for_the_server(
    valkey: Valkey, keys: KeySpace
) -> None:
    store = redis_store(settings_of(valkey), keys)
    await store.start()
    valkey.kill()
    with pytest.raises(LimiterDownError):
        await store.hit([HIT])

    await store.stop()
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "rate-limiter-outage"]
