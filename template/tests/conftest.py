"""Fixtures for every test. Those of a module come from its `testing.py` (docs/testing.md).

A module whose folder has been deleted takes its tests along: they are not collected.
"""

from __future__ import annotations

import os

# Before anything of the service is imported: no developer's .env reaches a test.
os.environ["APP_ENV"] = "test"
os.environ["APP_ENV_FILE"] = ""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dishka import AsyncContainer, Provider
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from hypothesis import HealthCheck, settings

from app.api import create_app
from app.core.folders import APP_ROOT, import_path, module_folders

TESTS = Path(__file__).parent
PLUGIN_FOLDERS = [APP_ROOT / "core", *module_folders(having="testing.py")]

# On a busy machine an example may take long. What else holds here, as in CI, is kept.
settings.register_profile(
    "patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

pytest_plugins = [import_path(folder, "testing") for folder in PLUGIN_FOLDERS]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out `tests/<layer>/<module>` when `app/<layer>/<module>` is not there.

    The same holds for a folder in it, which belongs to a part of the module.
    """
    if collection_path == TESTS or not collection_path.is_dir():
        return None
    place = collection_path.relative_to(TESTS)
    mirrored = len(place.parts) in {2, 3} and place.parts[0] in {"infrastructure", "modules"}
    return True if mirrored and not (APP_ROOT / place).exists() else None


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests and fixtures on asyncio; session-wide, so that they may share a loop."""
    return "asyncio"


@pytest.fixture
def overrides(request: pytest.FixtureRequest, anyio_backend: str) -> list[Provider]:  # noqa: ARG001 - lets async fixtures run
    """Providers that replace parts of the service in this test.

    Collected from the fixtures `override_<module>` of the modules' `testing.py`. Override this
    fixture to replace more: `return [*overrides, my_provider]`.
    """
    plugins = map(request.config.pluginmanager.get_plugin, pytest_plugins)
    names = [f"override_{folder.name}" for folder in PLUGIN_FOLDERS]
    offered = [name for name, plugin in zip(names, plugins, strict=True) if hasattr(plugin, name)]
    return [request.getfixturevalue(name) for name in offered]


@pytest.fixture
async def app(overrides: list[Provider]) -> AsyncIterator[FastAPI]:
    """The started service, with its parts replaced by `overrides`."""
    application = create_app(overrides=overrides)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
def container(app: FastAPI) -> AsyncContainer:
    """The container of the started service: `await container.get(Clock)`."""
    found: AsyncContainer = app.state.dishka_container
    return found


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """An HTTP client that talks to the service in this process."""
    transport = ASGITransport(app=app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test") as http:
        yield http
