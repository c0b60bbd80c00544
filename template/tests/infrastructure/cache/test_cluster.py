"""Redis Cluster: the keys of one entry may lie on several nodes, those of one script do not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from redis.asyncio import Redis

from app.infrastructure.cache import TokenStore
from app.infrastructure.cache.settings import CacheSettings
from app.infrastructure.redis import KeySpace
from tests.infrastructure.cache.conftest import Counted, MakeCache
from tests.infrastructure.redis.cluster import running_cluster

pytestmark = pytest.mark.slow
cluster = pytest.fixture(scope="module")(running_cluster)


@pytest.fixture
def redis_url(cluster: str) -> str:
    """Everything in these tests uses the cluster."""
    return cluster


async def test_the_cache_works_on_a_cluster(make_cache: MakeCache) -> None:
    one, other = make_cache(), make_cache()
    for number in range(20):
        for cache in (one, other):
            make = Counted(number)
            key, tags = f"user:{number}:x", [f"team:{number}", "all"]
            assert await cache.get_or_set(key, make, 60, model=int, tags=tags) == number
            assert make.calls == (1 if cache is one else 0)

    async def kept(number: int) -> bool:
        tags = [f"team:{number}", "all"]
        return await one.get(f"user:{number}:x", int, tags=tags) is not None

    await other.invalidate(tags=["team:1", "team:2"])
    await other.invalidate(prefix="user:3")
    await other.delete("user:4:x")
    assert [number for number in range(6) if await kept(number)] == [0, 5]
    await other.invalidate(tags=["all"])
    assert not await kept(0)
    await one.set("n:1", 7, 60, model=int)
    await other.clear()
    assert await one.get("n:1", int) is None
    await one._store.count({"a|hits": 2}, 60)
    assert await other._store.counted() == {"a|hits": 2}


async def test_tokens_work_on_a_cluster(redis: Redis, keys: KeySpace) -> None:
    tokens = TokenStore(redis, keys, CacheSettings())
    users = [f"user-{number}" for number in range(10)]
    made = [await tokens.put(user, timedelta(hours=1)) for user in users]

    assert [found.user for token in made if (found := await tokens.get(token))] == users
    assert await tokens.revoke_user("user-3") == 1
    assert await tokens.get(made[3]) is None
