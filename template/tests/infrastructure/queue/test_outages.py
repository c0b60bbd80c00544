"""The drills of `outages.py`, each as short as can be: real servers, real worker processes."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parent
SHORTEST = {
    "kill": ("--times", "1"),
    "due": ("--jobs", "200", "--notice", "12"),
}


@pytest.mark.parametrize("drill", SHORTEST)
def test_no_job_is_lost_and_work_goes_on(drill: str, queue_engine: str, tmp_path: Path) -> None:
    """Every job whose publisher was told so is done, by every worker; none is early."""
    if (FOLDER / queue_engine / "node.py").exists():
        node = importlib.import_module(f"tests.infrastructure.queue.{queue_engine}.node")
        if node.program() is None:
            pytest.skip(node.NONE_HERE)
    argv = [sys.executable, "-m", "tests.infrastructure.queue.outages"]
    argv += ["--engine", queue_engine, "--drill", drill, *SHORTEST[drill]]
    argv += ["--workers", "2", "--rate", "30", "--folder", str(tmp_path / "drill")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(argv, env=env, stdout=subprocess.PIPE, check=False)
    balance = json.loads(ended.stdout.splitlines()[-1])
    assert ended.returncode == 0
    assert balance["acknowledged"] > 100
    assert (balance["lost"], balance["early"], balance["ended"]) == (0, 0, 0)
    assert balance["outages"] > 0
