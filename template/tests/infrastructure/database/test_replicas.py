"""Reads inside `read_only()` go to a replica; everything else goes to the primary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dishka import Provider, Scope
from pydantic import SecretStr
from sqlalchemy import select

from app.core.clock import ManualClock, SystemClock
from app.core.container import build_container
from app.core.discovery import Registry
from app.core.health import HealthStatus
from app.core.settings import load_settings
from app.infrastructure.database import Base, Database, ReadOnlyError, read_only, transaction
from app.infrastructure.database.health import check
from app.infrastructure.database.module import module
from app.infrastructure.database.testing import app_settings, database_settings
from tests.infrastructure.database.conftest import Probe

UNREACHABLE = "postgresql://nobody:secret@127.0.0.1:1/none"


async def prepared(path: Path, name: str) -> str:
    """Make a database with one row that tells where it is."""
    url = f"sqlite+aiosqlite:///{path / name}.db"
    database = Database.from_settings(database_settings(url), app_settings(), SystemClock())
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.tables["probe"].create)
    async with database.unit_of_work() as session:
        session.add(Probe(name=name))
    await database.dispose()
    return url


@pytest.fixture
async def urls(tmp_path: Path) -> list[str]:
    return [await prepared(tmp_path, name) for name in ("primary", "replica1", "replica2")]


class Opened:
    """Opens databases and closes them at the end of the test."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self._all: list[Database] = []

    def __call__(self, primary: str, *replicas: str) -> Database:
        settings = database_settings(primary).model_copy(
            update={"database_replica_urls": SecretStr(" ".join(replicas))}
        )
        self._all.append(Database.from_settings(settings, app_settings(), self.clock))
        return self._all[-1]

    async def close(self) -> None:
        for database in self._all:
            await database.dispose()


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    factory = Opened()
    yield factory
    await factory.close()


async def where(database: Database, *, reading: bool = True) -> str:
    """Return the name of the server that answers."""
    async with database.session() as session:
        if not reading:
            return (await session.scalars(select(Probe.name))).one()
        async with read_only(session):
            return (await session.scalars(select(Probe.name))).one()


async def test_replicas_take_turns_and_the_primary_keeps_the_rest(
    urls: list[str], opened: Opened
) -> None:
    database = opened(*urls)

    assert {await where(database) for _ in range(4)} == {"replica1", "replica2"}
    assert await where(database, reading=False) == "primary"


async def test_without_replicas_the_primary_answers(urls: list[str], opened: Opened) -> None:
    assert await where(opened(urls[0])) == "primary"


async def test_everything_in_a_transaction_goes_to_the_primary(
    urls: list[str], opened: Opened
) -> None:
    async with opened(*urls).session() as session:
        async with transaction(session), read_only(session):
            inside = (await session.scalars(select(Probe.name))).one()
        async with read_only(session), transaction(session):
            inside_out = (await session.scalars(select(Probe.name))).one()

    assert inside == inside_out == "primary"


async def test_a_write_inside_read_only_is_refused(urls: list[str], opened: Opened) -> None:
    async with opened(*urls).session() as session, read_only(session):
        session.add(Probe(name="lost"))
        with pytest.raises(ReadOnlyError):
            await session.flush()


async def test_an_unreachable_replica_is_skipped_and_tried_again_later(
    urls: list[str], opened: Opened
) -> None:
    primary, replica, _ = urls
    database = opened(primary, UNREACHABLE, replica)
    broken = database.replicas.replicas[0]

    assert {await where(database) for _ in range(4)} == {"replica1"}
    assert broken.retry_at is not None
    waiting = broken.retry_at
    opened.clock.elapsed = waiting + 1
    assert {await where(database) for _ in range(2)} == {"replica1"}
    assert broken.retry_at > waiting


async def test_with_no_replica_reachable_the_primary_answers(
    urls: list[str], opened: Opened
) -> None:
    assert await where(opened(urls[0], UNREACHABLE)) == "primary"


async def test_health_shows_a_replica_that_is_down(urls: list[str], opened: Opened) -> None:
    database = opened(urls[0], urls[1], UNREACHABLE)
    override = Provider(scope=Scope.APP)
    override.provide(lambda: database, provides=Database, override=True)
    container = build_container(Registry((module,)), load_settings([module]), override)

    report = await check(container)

    assert report.status is HealthStatus.DEGRADED
    replicas = report.details["replicas"]
    assert isinstance(replicas, dict)
    assert sorted(replicas.values()) == ["down", "up"]
    assert "secret" not in str(report.details)
    await container.close()


async def test_requests_at_the_same_time_do_not_share_their_choice(
    urls: list[str], opened: Opened
) -> None:
    database = opened(*urls)

    answers = await asyncio.gather(
        *(where(database, reading=number % 2 == 0) for number in range(10))
    )

    assert [answer == "primary" for answer in answers] == [n % 2 == 1 for n in range(10)]
