"""A RabbitMQ that is killed in the middle of events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.infrastructure.queue.rabbitmq.testing import SERVER_VARIABLE
from tests.infrastructure.event_bus.conftest import Start, prefix, shared, start
from tests.infrastructure.event_bus.outage import outlive
from tests.infrastructure.queue.rabbitmq.node import NONE_HERE, Node, program

__all__ = ["prefix", "shared", "start"]
pytestmark = pytest.mark.slow
KEPT = 5.0
"""Seconds. RabbitMQ 3.10 forgets where a stream is when it is killed just after declaring it."""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node that may be mistreated; the processes use it."""
    if program() is None:
        pytest.skip(NONE_HERE)
    started = Node(tmp_path / "node")
    started.start()
    monkeypatch.setenv(SERVER_VARIABLE, started.url)
    monkeypatch.setenv("RABBITMQ_URL", started.url)
    yield started
    started.stop()


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch, node: Node) -> str:
    """This one alone."""
    del node
    monkeypatch.setenv("EVENT_BUS_TRANSPORT", "rabbitmq")
    return "rabbitmq"


async def test_nothing_that_was_confirmed_is_lost(start: Start, node: Node) -> None:
    def restart() -> None:
        time.sleep(KEPT)
        node.kill()
        node.start()

    await outlive(start, restart)
