"""Messages reach whoever listens; a lost connection is mended and marked."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel
from redis.asyncio import Redis

from app.infrastructure.redis import KeySpace, PubSub
from app.infrastructure.redis.client import build_client
from app.infrastructure.redis.errors import RedisUnavailableError
from app.infrastructure.redis.settings import RedisSettings

PATIENCE = 60.0


class Order(BaseModel):
    """A message."""

    id: UUID
    amount: int


@pytest.fixture
def pubsub(redis: Redis, keys: KeySpace) -> PubSub:
    return PubSub(redis, keys)


async def test_a_message_arrives_as_what_it_was(pubsub: PubSub) -> None:
    order = Order(id=uuid4(), amount=3)

    async with pubsub.subscribe("orders", "refunds", model=Order) as messages:
        assert await pubsub.publish("refunds", order) == 1
        message = await asyncio.wait_for(anext(messages), PATIENCE)

    assert (message.channel, message.data, message.after_gap) == ("refunds", order, False)


async def test_services_do_not_hear_each_other(redis: Redis, pubsub: PubSub) -> None:
    stranger = PubSub(redis, KeySpace("another-service"))

    async with pubsub.subscribe("orders", model=int):
        assert await stranger.publish("orders", 1) == 0


async def test_what_is_no_message_of_ours_is_left_out(
    pubsub: PubSub, redis: Redis, keys: KeySpace
) -> None:
    async with pubsub.subscribe("orders", model=Order) as messages:
        await redis.publish(keys("channel", "orders"), "{not json")
        await pubsub.publish("orders", Order(id=uuid4(), amount=1))
        message = await asyncio.wait_for(anext(messages), PATIENCE)

    assert message.data.amount == 1


async def test_bytes_that_are_no_text_end_no_subscription(
    pubsub: PubSub, redis: Redis, keys: KeySpace
) -> None:
    async with pubsub.subscribe("orders", model=int) as messages:
        await redis.publish(keys("channel", "orders"), b"\xff\xfe")
        await pubsub.publish("orders", 5)
        message = await asyncio.wait_for(anext(messages), PATIENCE)

    assert (message.data, message.after_gap) == (5, False)


async def test_after_a_lost_connection_the_next_message_says_so(pubsub: PubSub, redis: Any) -> None:
    async with pubsub.subscribe("orders", model=int) as messages:
        waiting = asyncio.ensure_future(anext(messages))
        await asyncio.sleep(0.1)
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not waiting.done() and asyncio.get_running_loop().time() < deadline:
            await pubsub.publish("orders", 7)
            await asyncio.sleep(0.05)
        message = await asyncio.wait_for(waiting, PATIENCE)

    assert (message.data, message.after_gap) == (7, True)


async def test_nobody_is_left_listening_at_the_end(pubsub: PubSub) -> None:
    async with pubsub.subscribe("orders", model=int):
        pass

    assert await pubsub.publish("orders", 1) == 0


async def test_a_server_that_is_away_is_a_503(keys: KeySpace) -> None:
    settings = RedisSettings.model_validate(
        {"redis_url": "redis://127.0.0.1:1/0", "redis_retries": 0}
    )
    client = build_client(settings, settings.address, "test")
    away = PubSub(client, keys)

    with pytest.raises(RedisUnavailableError):
        await away.publish("orders", 1)
    with pytest.raises(RedisUnavailableError):
        async with away.subscribe("orders", model=int):
            pass
    await client.aclose()
