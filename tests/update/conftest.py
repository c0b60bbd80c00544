"""Fixtures of the tests of updates."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.releases import NOBODY
from tests import rendering
from tests.questionnaire import TOOLS
from tests.update import services


@pytest.fixture(scope="session", autouse=True)
def nobody() -> None:
    """Copier asks git, which must not ask the developer's configuration."""
    os.environ.update(NOBODY)
    os.environ["PATH"] = os.pathsep.join([str(TOOLS), os.environ["PATH"]])


@pytest.fixture(scope="session")
def plinth(shared: Path) -> Path:
    """A repository of every recorded release, and of the working tree as the newest."""
    folder = shared / "releases" / "plinth"
    with rendering.alone(shared / "releases.lock"):
        if not folder.exists():
            folder.parent.mkdir()
            building = folder.with_name("building")
            services.build(building)
            building.rename(folder)
    return folder
