"""A storage on each driver the service has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dishka import AsyncContainer

from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings
from app.infrastructure.storage import FileStorage
from app.infrastructure.storage.settings import DRIVERS
from tests.infrastructure.storage.places import PLACES


@pytest.fixture(params=DRIVERS)
def driver_name(request: pytest.FixtureRequest) -> str:
    """The driver a test runs on; on each in turn."""
    name: str = request.param
    return name


@pytest.fixture
def place(driver_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The environment names an empty place of the driver."""
    with PLACES[driver_name](tmp_path) as environment:
        monkeypatch.setenv("FILE_STORAGE_DRIVER", driver_name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield driver_name


@pytest.fixture
async def storage_container(place: str) -> AsyncIterator[AsyncContainer]:
    """The container of a service that has a storage and nothing else."""
    assert place
    only = Registry(tuple(m for m in discover().modules if m.name == "storage"))
    settings = load_settings(only.modules)
    container = build_container(only, settings)
    async with Lifecycle(only, settings, container):
        yield container


@pytest.fixture
async def storage(storage_container: AsyncContainer) -> FileStorage:
    """Keeps files in that place."""
    return await storage_container.get(FileStorage)
