"""A table to work with, on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.clock import SystemClock
from app.infrastructure.database import Base, Database, Entity, SoftDelete, Versioned
from app.infrastructure.database.testing import (
    app_settings,
    database_settings,
    postgres_database,
    sqlite_database,
)


class Probe(SoftDelete, Versioned, Entity):
    """A row made for these tests. Its table is no part of the service's schema."""

    __tablename__ = "probe"

    name: Mapped[str] = mapped_column(String(50), unique=True)
    rank: Mapped[int] = mapped_column(default=0)


@pytest.fixture(params=["sqlite", "postgresql"])
def each_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database: SQLite, then PostgreSQL where one can be had."""
    database: AbstractContextManager[str]
    if request.param == "sqlite":
        database = sqlite_database(tmp_path)
    else:
        database = postgres_database(request.getfixturevalue("postgres_url"))
    with database as url:
        yield url


@pytest.fixture
async def database(each_url: str) -> AsyncIterator[Database]:
    """A database with the probe's table; connections and commits are real."""
    opened = Database.from_settings(database_settings(each_url), app_settings(), SystemClock())
    async with opened.engine.begin() as connection:
        await connection.run_sync(Base.metadata.tables["probe"].create)
    yield opened
    await opened.dispose()
