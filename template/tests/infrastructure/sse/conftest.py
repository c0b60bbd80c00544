"""One process for most tests, processes that hear each other for the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from app.core.discovery import discover
from tests.infrastructure.live.service import Api, serving, shared


@pytest.fixture(scope="module")
async def process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A process with events of its own, and small limits."""
    env = {
        "EVENT_BUS_TRANSPORT": "local",
        "LIVE_HEARTBEAT": "0.3",
        "LIVE_REPLAY": "5",
        "LIVE_CLIENTS_PER_USER": "2",
        "REDIS_EMBEDDED_DIR": str(tmp_path_factory.mktemp("r")),
    }
    async with serving(tmp_path_factory.mktemp("api"), env) as found:
        yield found


@pytest.fixture
async def api(process: Api) -> Api:
    """That process, when it has forgotten the clients of the test before: a user has two."""
    await process.until(clients=0)
    return process


@pytest.fixture
def together(request: pytest.FixtureRequest, tmp_path: Path) -> Mapping[str, str]:
    """The environment of processes that share events."""
    if not discover().has("event_bus_redis"):
        pytest.skip("this service has no transport between processes")
    return {**shared(request.getfixturevalue("redis_url")), "REDIS_EMBEDDED_DIR": str(tmp_path)}
