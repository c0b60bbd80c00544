"""A process that uses a cloud: how it ends, and how much memory large files take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, resource, sys
from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings
from app.infrastructure.storage import FileStorage

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

async def stream(size):
    for _ in range(size):
        yield bytes(1 << 20)

async def main(size):
    only = Registry(tuple(m for m in discover().modules if m.name == "storage"))
    settings = load_settings(only.modules)
    container = build_container(only, settings)
    async with Lifecycle(only, settings, container):
        storage = await container.get(FileStorage)
        await storage.put("small", b"x")
        before = peak()
        await storage.put("large", stream(size))
        async with storage.open("large") as download:
            read = 0
            async for chunk in download:
                read += len(chunk)
        assert read == size << 20
        print(peak() - before)

asyncio.run(main(int(sys.argv[1])))
"""


@pytest.fixture
def program(place: str, tmp_path: Path) -> Path:
    """Works in the place of the environment."""
    assert place
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


def run(program: Path, mebibytes: int) -> int:
    """Return by how many MiB the memory of a process grew that put and got a file."""
    done = subprocess.run(
        [sys.executable, program, str(mebibytes)],
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_a_process_that_ends_at_once_ends_well(program: Path) -> None:
    """Without a wait in `stop`, obstore aborts those that end within some 10 ms of a call."""
    for _ in range(3):
        run(program, 1)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(program: Path) -> None:
    """A stream of 96 MiB takes no more than the parts that are on their way."""
    assert run(program, 96) < 64
