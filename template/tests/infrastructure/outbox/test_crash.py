"""Killed at every moment around the commit: rows and jobs are there together, or not at all."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import text

from app.infrastructure.database import Database
from app.infrastructure.redis.keys import KeySpace
from tests.infrastructure.outbox.conftest import scalars

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("real_commits")]
PROGRAM = Path(__file__).with_name("program.py")
KILLS = int(os.environ.get("OUTBOX_KILLS", "12"))
PATIENCE = 30.0
NAMES = "SELECT name FROM effects ORDER BY name"


async def test_a_kill_around_the_commit_loses_nothing(
    test_database: Database,
    test_database_url: str,
    redis_url: str,
    keys: KeySpace,
    engine_environment: Mapping[str, str],
) -> None:
    """A third dies before the commit, a third before publishing, a third before noting it."""
    async with test_database.unit_of_work() as session:
        await session.execute(text("CREATE TABLE effects (name varchar(50))"))
    env = {
        **os.environ,
        "APP_NAME": keys.prefix,
        "DATABASE_URL": test_database_url,
        "REDIS_URL": redis_url,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OUTBOX_PATIENCE": "0.1",
        "OUTBOX_POLL": "0.1",
        "LOG_LEVEL": "WARNING",
        **engine_environment,
    }
    crash = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), "crash", str(KILLS), env=env
    )
    assert await crash.wait() == 0
    committed = [number for number in range(KILLS) if number % 3]
    assert await scalars(test_database, NAMES) == sorted(f"row-{n}" for n in committed)

    worker = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), "work", env={**env, "APP_ROLE": "worker"}
    )
    try:
        async with asyncio.timeout(PATIENCE):
            while len(await scalars(test_database, NAMES)) < 2 * len(committed):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    finally:
        worker.terminate()
        assert await worker.wait() == 0
    expected = [f"{what}-{n}" for n in committed for what in ("row", "job")]
    assert await scalars(test_database, NAMES) == sorted(expected)
