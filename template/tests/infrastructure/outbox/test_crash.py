"""Killed at every moment around the commit: rows, jobs and events are there together, or none."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import text

from app.infrastructure.database import Database
from app.infrastructure.outbox.models import RowKind
from app.infrastructure.redis.keys import KeySpace
from tests.infrastructure.outbox.conftest import scalars
from tests.infrastructure.outbox.test_outbox import PENDING

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("real_commits")]
PROGRAM = Path(__file__).with_name("program.py")
KILLS = int(os.environ.get("OUTBOX_KILLS", "12"))
MOMENTS = 5
"""Of `program.py`; the first one is before the commit."""
PATIENCE = 90.0
NAMES = "SELECT name FROM effects"
KINDS = "SELECT kind FROM outbox"


async def test_a_kill_around_the_commit_loses_nothing(
    test_database: Database,
    test_database_url: str,
    redis_url: str,
    keys: KeySpace,
    engine_environment: Mapping[str, str],
) -> None:
    """An event whose delivery was not noted comes twice, and nothing else does."""
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
    committed = [number for number in range(KILLS) if number % MOMENTS]
    assert Counter(await scalars(test_database, KINDS)) == dict.fromkeys(RowKind, len(committed))
    rows = {f"row-{number}" for number in committed}
    assert rows == {name for name in await scalars(test_database, NAMES) if name[:3] == "row"}

    worker = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), "work", env={**env, "APP_ROLE": "worker"}
    )
    expected = {f"{what}-{number}" for number in committed for what in ("row", "job", "event")}
    try:
        async with asyncio.timeout(PATIENCE):
            while (  # noqa: ASYNC110 - other processes bring it about
                not expected <= set(await scalars(test_database, NAMES))
                or await scalars(test_database, PENDING) != [0]
            ):
                await asyncio.sleep(0.1)
    finally:
        worker.terminate()
        assert await worker.wait() == 0
    found = Counter(await scalars(test_database, NAMES))
    assert set(found) == expected
    twice = {name for name, times in found.items() if times > 1}
    assert twice == {f"event-{number}" for number in committed if number % MOMENTS == MOMENTS - 1}
