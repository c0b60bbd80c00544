"""What other modules may know of the running unit of work."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text

from app.core.discovery import discover
from app.core.settings import SettingsBundle
from app.core.work import WorkPort
from app.infrastructure.database import Database, transaction
from app.infrastructure.database.settings import DatabaseSettings
from tests.infrastructure.database.conftest import Probe

(PORT,) = discover().contributions(WorkPort)


def has_written() -> bool:
    state = PORT.state()
    assert state is not None
    return state.has_written


async def test_there_is_none_outside(database: Database) -> None:
    assert PORT.state() is None
    async with database.unit_of_work():
        assert PORT.state() is not None
    assert PORT.state() is None
    with pytest.raises(RuntimeError, match="no unit of work"):
        PORT.after_commit(lambda: _append([]))


async def test_it_knows_its_age(database: Database) -> None:
    async with database.unit_of_work():
        first = PORT.state()
        second = PORT.state()
    assert first is not None
    assert second is not None
    assert 0 <= first.age <= second.age < 60


async def test_reading_is_no_writing(database: Database) -> None:
    async with database.unit_of_work() as session:
        await session.scalars(select(Probe))
        await session.execute(text("  select 1"))
        assert not has_written()


async def test_what_is_not_flushed_yet_is_written(database: Database) -> None:
    async with database.unit_of_work() as session:
        session.add(Probe(name="new"))
        assert has_written()
        await session.flush()
        assert has_written()


async def test_a_changed_object_is_written(database: Database) -> None:
    async with database.unit_of_work() as session:
        session.add(Probe(name="a"))
    async with database.unit_of_work() as session:
        probe = (await session.scalars(select(Probe))).one()
        assert not has_written()
        probe.name = "b"
        assert has_written()


@pytest.mark.parametrize("statement", ["UPDATE {} SET name = 'x'", "DELETE FROM {}"])
async def test_statements_that_write_are_seen(database: Database, statement: str) -> None:
    async with database.unit_of_work() as session:
        await session.execute(text(statement.format(Probe.__tablename__)))
        assert has_written()


async def test_a_statement_of_sqlalchemy_that_writes_is_seen(database: Database) -> None:
    async with database.unit_of_work() as session:
        await session.execute(Probe.__table__.delete())  # type: ignore[attr-defined]  # a Table
        assert has_written()


async def test_a_rollback_forgets_it(database: Database) -> None:
    async with database.unit_of_work() as session:
        session.add(Probe(name="lost"))
        await session.flush()
        await session.rollback()
        assert not has_written()


async def _append(done: list[str]) -> None:
    done.append("done")


async def test_callbacks_run_after_the_commit(database: Database) -> None:
    done: list[str] = []
    async with database.unit_of_work() as session:
        PORT.after_commit(lambda: _append(done))
        with pytest.raises(ZeroDivisionError):
            async with transaction(session):
                PORT.after_commit(lambda: _append(done))
                _ = 1 / 0
        assert done == []
    assert done == ["done"]


@pytest.mark.parametrize("replicas", ["", "sqlite+aiosqlite:///replica.db"])
def test_reads_may_lag_where_there_are_replicas(replicas: str) -> None:
    settings = DatabaseSettings(database_replica_urls=SecretStr(replicas))
    assert PORT.may_lag(SettingsBundle({DatabaseSettings: settings})) is bool(replicas)
