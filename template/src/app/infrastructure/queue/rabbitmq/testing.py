"""What tests of jobs need of this engine: a broker, and nothing left in it.

`TEST_RABBITMQ_URL` names one; without it the tests on this engine are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest
from aiormq import Connection
from pydantic import SecretStr
from redis.asyncio import Redis

from app.infrastructure.queue.rabbitmq.settings import RabbitmqSettings
from app.infrastructure.queue.rabbitmq.topology import graveyard, lanes

SERVER_VARIABLE = "TEST_RABBITMQ_URL"
if url := os.environ.get(SERVER_VARIABLE):
    # Whatever a test starts uses it.
    os.environ["RABBITMQ_URL"] = url


def missing() -> str:
    """Return why there is no broker for tests, nothing if there is one."""
    if os.environ.get(SERVER_VARIABLE):
        return ""
    return (
        f"{SERVER_VARIABLE} names no RabbitMQ: `docker run --rm -p 5672:5672 rabbitmq:4`, then"
        f" {SERVER_VARIABLE}=amqp://guest:guest@127.0.0.1:5672/"
    )


def environment() -> Mapping[str, str]:
    """Return the environment of a process that is to use the tests' broker; skip without one."""
    if reason := missing():
        pytest.skip(reason)
    return {"RABBITMQ_URL": os.environ[SERVER_VARIABLE]}


def settings() -> list[RabbitmqSettings]:
    """Return the settings for the tests' broker."""
    return [RabbitmqSettings(rabbitmq_url=SecretStr(environment()["RABBITMQ_URL"]))]


async def clean(prefix: str, redis: Redis) -> None:
    """Delete the queues of a test."""
    names = {str(name) for name in await redis.smembers(f"{{{prefix}}}:rabbitmq:queues")}
    connection = Connection(settings()[0].urls[0])
    await connection.connect()
    try:
        channel = await connection.channel()
        for queue in {*names, "default"}:
            for name in (*lanes(prefix, queue), graveyard(prefix, queue)):
                await channel.queue_delete(name)
    finally:
        await connection.close()
