"""Fixtures of the template's tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import rendering
from tests.rendering import Template


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder all processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def template(shared: Path) -> Template:
    """The template as it stands in the working tree."""
    source, shelf = shared / "template", shared / "services"
    with rendering.alone(shared / "template.lock"):
        if not source.exists():
            rendering.export(source)
            shelf.mkdir()
    return Template(source, shelf)


@pytest.fixture(scope="session")
def mypy_cache(shared: Path) -> Path:
    """A cache for mypy shared by services one process looks at: they are nearly the same."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    persistent = os.environ.get("MYPY_CACHE_DIR")
    return Path(f"{persistent}-services" if persistent else shared / "mypy") / worker
