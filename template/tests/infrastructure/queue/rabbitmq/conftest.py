"""These tests look into the broker: this engine alone, and a connection of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest
from aiormq import Channel, Connection


@pytest.fixture
def queue_engine() -> str:
    """This engine alone."""
    return "rabbitmq"


@pytest.fixture
async def channel(engine_environment: Mapping[str, str]) -> AsyncIterator[Channel]:
    """A channel of the test's own."""
    connection = Connection(engine_environment["RABBITMQ_URL"])
    await connection.connect()
    opened = await connection.channel()
    assert isinstance(opened, Channel)
    yield opened
    await connection.close()
