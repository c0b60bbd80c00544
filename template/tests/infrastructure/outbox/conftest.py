"""A service with an outbox, on each engine, and something that has effects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from dishka import AsyncContainer, Provider, Scope
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.lifecycle import Lifecycle
from app.core.module import Module
from app.core.settings import load_settings
from app.infrastructure.database import Database
from app.infrastructure.deferred import Deferrable
from app.infrastructure.outbox import idempotent
from app.infrastructure.queue import job

DONE: list[str] = []
"""What jobs did, in this process."""


class UndoError(Exception):
    """Ends a unit of work."""


@job("note")
async def note(word: str) -> None:
    DONE.append(word)


class Shop:
    """Has effects in the database."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def sell(self, name: str) -> int:
        await self._session.execute(text("INSERT INTO effects VALUES (:name)"), {"name": name})
        return await count(self._session, name)

    @idempotent(key=lambda _, name: name)
    async def sell_once(self, name: str) -> dict[str, int]:
        return {name: await self.sell(name)}

    async def fail(self, name: str) -> None:
        await self.sell(name)
        raise ValueError(name)


provider = Provider(scope=Scope.REQUEST)
provider.provide(Shop)
PROBE = Module(
    name="probe",
    summary="Has effects",
    requires=("outbox",),
    providers=(provider,),
    contributes=(Deferrable(Shop), note),
)


async def count(session: AsyncSession, name: str) -> int:
    found = await session.scalar(
        text("SELECT count(*) FROM effects WHERE name = :name"), {"name": name}
    )
    return int(found or 0)


@pytest.fixture
async def container(
    overrides: list[Provider],
    engine_environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    test_database: Database,
) -> AsyncIterator[AsyncContainer]:
    """The container of the started service."""
    DONE.clear()
    for name, value in engine_environment.items():
        monkeypatch.setenv(name, value)
    async with test_database.unit_of_work() as session:
        await session.execute(text("CREATE TABLE effects (name varchar(50))"))
    registry = Registry((*discover().modules, PROBE))
    settings = load_settings(registry.modules)
    built = build_container(registry, settings, *overrides)
    async with Lifecycle(registry, settings, built):
        yield built


@pytest.fixture
def database(container: AsyncContainer, test_database: Database) -> Database:
    """The started service's database."""
    del container
    return test_database


async def scalars(database: Database, sql: str, **values: Any) -> list[Any]:
    """Return the first column of a query."""
    async with database.unit_of_work() as session:
        return list(await session.scalars(text(sql), values))
