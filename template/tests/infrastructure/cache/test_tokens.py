"""Tokens: what they stand for, their end, and that Redis does not know them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from app.infrastructure.cache import TokenStore
from app.infrastructure.cache.settings import CacheSettings
from app.infrastructure.redis import KeySpace, RedisUnavailableError
from app.infrastructure.redis.client import build_client
from app.infrastructure.redis.settings import RedisSettings

HOUR = timedelta(hours=1)


@pytest.fixture
def tokens(redis: Redis, keys: KeySpace) -> TokenStore:
    return TokenStore(redis, keys, CacheSettings(tokens_per_user=3))


async def test_a_token_stands_for_its_user_and_data_until_its_end(tokens: TokenStore) -> None:
    token = await tokens.put("ada", HOUR, {"device": "phone", "scopes": ["read"]})
    found = await tokens.get(token)

    assert found is not None
    assert found.user == "ada"
    assert found.data == {"device": "phone", "scopes": ["read"]}
    left = found.expires_at - datetime.now(UTC)
    assert HOUR - timedelta(minutes=1) < left <= HOUR + timedelta(minutes=1)


async def test_tokens_differ(tokens: TokenStore) -> None:
    made = [await tokens.put("ada", HOUR) for _ in range(3)]
    assert len(set(made)) == 3
    assert all(len(token) >= 59 for token in made)


async def test_it_ends_when_its_time_is_over(tokens: TokenStore) -> None:
    """Each for itself, though another of the same user goes on."""
    short = await tokens.put("ada", timedelta(milliseconds=50))
    long = await tokens.put("ada", HOUR)
    await asyncio.sleep(0.1)

    assert await tokens.get(short) is None
    assert not await tokens.revoke(short)
    assert await tokens.get(long) is not None


async def test_one_that_was_revoked_is_none(tokens: TokenStore) -> None:
    first, second = [await tokens.put("ada", HOUR) for _ in range(2)]

    assert await tokens.revoke(first)
    assert not await tokens.revoke(first)
    assert await tokens.get(first) is None
    assert await tokens.get(second) is not None


async def test_all_of_a_user_can_be_revoked(tokens: TokenStore) -> None:
    mine = [await tokens.put("ada", HOUR) for _ in range(3)]
    other = await tokens.put("bob", HOUR)

    assert await tokens.revoke_user("ada") == 3
    assert await tokens.revoke_user("ada") == 0
    assert [await tokens.get(token) for token in mine] == [None] * 3
    assert await tokens.get(other) is not None


async def test_one_too_many_ends_the_one_that_ends_first(tokens: TokenStore) -> None:
    first = await tokens.put("ada", timedelta(minutes=1))
    others = [await tokens.put("ada", HOUR) for _ in range(3)]

    assert await tokens.get(first) is None
    assert all([await tokens.get(token) for token in others])


async def test_a_lower_number_holds_for_tokens_that_are_there(
    tokens: TokenStore, redis: Redis, keys: KeySpace
) -> None:
    before = [await tokens.put("ada", HOUR + timedelta(minutes=number)) for number in range(3)]
    fewer = TokenStore(redis, keys, CacheSettings(tokens_per_user=2))
    last = await fewer.put("ada", HOUR)

    assert [bool(await fewer.get(token)) for token in [*before, last]] == [False, False, True, True]


async def test_redis_knows_neither_tokens_nor_keeps_them_for_ever(
    tokens: TokenStore, redis: Redis, keys: KeySpace
) -> None:
    token = await tokens.put("ada", HOUR)
    await tokens.put("ada", timedelta(minutes=1))
    (key,) = [key async for key in redis.scan_iter(match=f"{keys.prefix}:*")]

    held = str(await redis.hgetall(key)) + key
    assert token not in held
    assert token.partition(".")[2] not in held
    assert 3_500_000 < await redis.pttl(key) <= 3_600_000  # as long as the longest


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "x",
        "x.y",
        "a" * 16,
        "a" * 16 + ".",
        "{" * 16 + ".x",
        "ü" * 16 + ".x",
        "a" * 16 + ".x" * 500,
    ],
)
async def test_what_is_no_token_is_none(tokens: TokenStore, token: str) -> None:
    assert await tokens.get(token) is None
    assert not await tokens.revoke(token)


async def test_another_secret_of_the_same_user_is_none(tokens: TokenStore) -> None:
    token = await tokens.put("ada", HOUR)
    assert await tokens.get(token[:-1] + ("A" if token[-1] != "A" else "B")) is None


@pytest.mark.parametrize(("user", "ttl"), [("", HOUR), ("ada", timedelta()), ("ada", -HOUR)])
async def test_a_token_needs_a_user_and_a_time(tokens: TokenStore, user: str, ttl: Any) -> None:
    with pytest.raises(ValueError, match="a token needs"):
        await tokens.put(user, ttl)


async def test_without_redis_nobody_is_let_in(keys: KeySpace) -> None:
    """It is no cache: there is nothing to compute."""
    where = RedisSettings.model_validate({"redis_url": "redis://127.0.0.1:1", "redis_retries": 0})
    client = build_client(where, where.address, "test")
    tokens = TokenStore(client, keys, CacheSettings())

    for asked in (tokens.put("ada", HOUR), tokens.get("a" * 16 + ".x"), tokens.revoke_user("ada")):
        with pytest.raises(RedisUnavailableError):
            await asked
    await client.aclose()
