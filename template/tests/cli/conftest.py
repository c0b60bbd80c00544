"""Run the command line as a user does: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.folders import APP_ROOT

PROJECT = APP_ROOT.parents[1]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Run:
    """Run `app …` in an empty folder; keyword arguments are environment variables."""

    def run(*words: str, cwd: Path = tmp_path, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app", *words],
            cwd=cwd,
            env=environment(**env),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def environment(**changes: str) -> dict[str, str]:
    """Return an environment for a process of the service, in development."""
    return {
        **os.environ,
        "APP_ENV": "development",
        "PYTHONPATH": str(PROJECT / "src"),
        "NO_COLOR": "1",
        "COLUMNS": "120",
        **changes,
    }
