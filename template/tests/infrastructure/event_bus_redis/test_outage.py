"""A Redis that dies in the middle of events, and comes back with what it had acknowledged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infrastructure.event_bus.conftest import Start, prefix, shared, start
from tests.infrastructure.event_bus.outage import outlive
from tests.infrastructure.redis.server import Broker

__all__ = ["prefix", "shared", "start"]
pytestmark = pytest.mark.slow
AWAY_SECONDS = 3.0
"""Longer than the client repeats a command by itself."""


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> str:
    """This one alone."""
    monkeypatch.setenv("EVENT_BUS_TRANSPORT", "redis")
    monkeypatch.setenv("EVENT_BUS_CLAIM_IDLE", "1")
    return "redis"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A server that may be mistreated."""
    started = Broker(tmp_path)
    yield started
    started.kill()


@pytest.fixture
def redis_url(broker: Broker) -> str:
    """The processes use the test's own server."""
    return f"redis://127.0.0.1:{broker.port}"


async def test_nothing_that_was_acknowledged_is_lost(start: Start, broker: Broker) -> None:
    def restart() -> None:
        broker.kill()
        time.sleep(AWAY_SECONDS)
        broker.start()

    await outlive(start, restart)
