"""Caches on the tests' server, as processes of one service have them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from loguru import logger

from app.core.work import WorkPort
from app.infrastructure.cache import Cache
from app.infrastructure.cache.link import Link
from app.infrastructure.cache.names import Names
from app.infrastructure.cache.settings import CacheSettings
from app.infrastructure.cache.store import Store
from app.infrastructure.redis import KeySpace
from app.infrastructure.redis.client import build_client, close_client
from app.infrastructure.redis.multiplexer import Multiplexer
from app.infrastructure.redis.settings import RedisSettings


class MakeCache(Protocol):
    """Makes a cache."""

    def __call__(
        self,
        redis: RedisSettings | None = None,
        *,
        works: Sequence[WorkPort] = (),
        lag: float = 0.0,
        **settings: Any,
    ) -> Cache: ...


@pytest.fixture
async def make_cache(redis_settings: RedisSettings, keys: KeySpace) -> AsyncIterator[MakeCache]:
    """Caches with connections of their own and the same keys, as in several processes."""
    async with AsyncExitStack() as stack:

        def make(
            redis: RedisSettings | None = None,
            *,
            works: Sequence[WorkPort] = (),
            lag: float = 0.0,
            **changes: Any,
        ) -> Cache:
            where = redis or redis_settings
            # On a busy machine a quarter of a second is no outage.
            usual = {"cache_jitter": 0.0, "cache_timeout": 10.0}
            settings = CacheSettings.model_validate({**usual, **changes})
            timeout = settings.cache_timeout
            client = build_client(where, where.address, "test", socket_timeout=timeout)
            fast = None
            if Multiplexer.possible(where.address):
                fast = Multiplexer(where, where.address, "test", timeout)
            link = Link(client, fast, timeout, settings.cache_retry)
            names = Names(keys)
            cache = Cache(Store(link, names), names, settings, works, lag=lag)
            stack.push_async_callback(close_client, client)
            stack.push_async_callback(link.close)
            stack.push_async_callback(cache.close)
            return cache

        yield make


@pytest.fixture
def cache(make_cache: MakeCache) -> Cache:
    return make_cache()


@pytest.fixture
def lines() -> Callable[[], list[str]]:
    """What is logged from here on."""
    found: list[str] = []
    logger.add(lambda message: found.append(message.record["message"]), level="INFO")
    return lambda: list(found)


class Counted:
    """Computes, and counts how often."""

    def __init__(self, value: Any = "value") -> None:
        self.value = value
        self.calls = 0

    async def __call__(self) -> Any:
        self.calls += 1
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for a socket file: pytest's own have too long names."""
    folder = Path(tempfile.mkdtemp(prefix="cache-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
