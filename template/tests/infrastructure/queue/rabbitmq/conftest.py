"""These tests look into the broker: this engine alone, and a connection of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiormq import Channel, Connection

from app.infrastructure.queue.rabbitmq import testing


@pytest.fixture
def queue_engine() -> str:
    """This engine alone."""
    return "rabbitmq"


@pytest.fixture
def rabbitmq_url() -> str:
    """The tests' broker."""
    return testing.environment()["RABBITMQ_URL"]


@pytest.fixture
async def channel(rabbitmq_url: str) -> AsyncIterator[Channel]:
    """A channel of the test's own."""
    connection = Connection(rabbitmq_url)
    await connection.connect()
    opened = await connection.channel()
    assert isinstance(opened, Channel)
    yield opened
    await connection.close()
