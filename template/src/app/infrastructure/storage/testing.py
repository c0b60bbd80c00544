"""Fixtures for tests that keep files: each test has a folder of its own, on local disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from dishka import Provider, Scope

from app.infrastructure.storage.driver import Driver
from app.infrastructure.storage.local.driver import LocalDriver


@pytest.fixture
def files_folder(tmp_path: Path) -> Path:
    """Where the files of the test are; see `local/driver.py` for what is in it."""
    return tmp_path / "files"


@pytest.fixture
def override_storage(files_folder: Path) -> Provider:
    """Keep the files of the test in its folder."""

    def provide() -> Driver:
        return LocalDriver(files_folder)

    provider = Provider(scope=Scope.APP)
    provider.provide(provide, override=True)
    return provider
