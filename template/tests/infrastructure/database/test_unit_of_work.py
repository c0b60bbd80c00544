"""A unit of work is committed whole or not at all."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import SystemClock
from app.infrastructure.database import (
    Database,
    DuplicateError,
    ReferenceViolationError,
    Repository,
    StaleVersionError,
    after_commit,
    after_rollback,
    transaction,
)
from app.infrastructure.database.testing import app_settings, database_settings
from tests.infrastructure.database.conftest import Probe


class Probes(Repository[Probe]):
    model = Probe


class StopError(Exception):
    """Raised by a test on purpose."""


async def names(database: Database) -> list[str]:
    async with database.session() as session:
        return list(await session.scalars(select(Probe.name).order_by(Probe.name)))


async def test_it_commits_when_the_block_ends(database: Database) -> None:
    async with database.unit_of_work() as session:
        session.add(Probe(name="kept"))

    assert await names(database) == ["kept"]


async def test_it_rolls_back_when_the_block_raises(database: Database) -> None:
    async def fail() -> None:
        async with database.unit_of_work() as session:
            await Probes(session).add(Probe(name="lost"))
            raise StopError

    with pytest.raises(StopError):
        await fail()
    assert await names(database) == []


async def test_it_rolls_back_when_the_task_is_cancelled(database: Database) -> None:
    started = asyncio.Event()

    async def hang() -> None:
        async with database.unit_of_work() as session:
            await Probes(session).add(Probe(name="lost"))
            started.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(hang())
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert await names(database) == []


async def test_a_statement_that_is_cancelled_is_no_database_that_is_away(
    database: Database,
) -> None:
    """SQLAlchemy calls it a disconnect; a timeout would become a 503, a cancelled task go on."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    if database.engine.dialect.name == "postgresql":
        endless = "SELECT pg_sleep(60)"
    else:
        endless = endless.replace("FROM n)", "FROM n WHERE i < 5000000)")

    async def work() -> None:
        async with asyncio.timeout(0.2), database.unit_of_work() as session:
            await session.execute(text(endless))

    with pytest.raises(TimeoutError):
        await work()
    assert await names(database) == []


async def test_a_commit_that_fails_raises_the_services_error(database: Database) -> None:
    async with database.unit_of_work() as session:
        session.add(Probe(name="same"))

    async def clash() -> None:
        async with database.unit_of_work() as session:
            session.add(Probe(name="same"))

    with pytest.raises(DuplicateError) as caught:
        await clash()
    assert "same" not in str(caught.value)


async def test_a_commit_that_fails_keeps_nobody_from_writing(
    database: Database, each_url: str
) -> None:
    """Neither who gets its connection next nor another process."""
    async with database.unit_of_work() as session:
        await session.execute(text("CREATE TABLE parent (id integer PRIMARY KEY)"))
        child = "CREATE TABLE child (id integer REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"
        await session.execute(text(child))

    with pytest.raises(ReferenceViolationError):
        async with database.unit_of_work() as session:
            await session.execute(text("INSERT INTO child VALUES (1)"))

    impatient = database_settings(each_url).model_copy(update={"db_statement_timeout": 5.0})
    other = Database.from_settings(impatient, app_settings(), SystemClock())
    try:
        for each in (other, database):
            async with each.unit_of_work() as session:
                await session.execute(text("INSERT INTO child VALUES (NULL)"))
    finally:
        await other.dispose()
    async with database.session() as session:
        assert await session.scalar(text("SELECT count(*) FROM child")) == 2


async def test_a_savepoint_undoes_its_own_part_only(database: Database) -> None:
    async with database.unit_of_work() as session:
        session.add(Probe(name="first"))
        with pytest.raises(StopError):
            async with transaction(session):
                await Probes(session).add(Probe(name="undone"))
                raise StopError
        async with transaction(session), transaction(session):
            session.add(Probe(name="nested"))

    assert await names(database) == ["first", "nested"]


async def test_work_goes_on_after_a_conflict_in_a_savepoint(database: Database) -> None:
    async with database.unit_of_work() as session:
        await Probes(session).add(Probe(name="same"))
        with pytest.raises(DuplicateError):
            async with transaction(session):
                await Probes(session).add(Probe(name="same"))
        await Probes(session).add(Probe(name="other"))

    assert await names(database) == ["other", "same"]


async def test_steps_after_the_commit_run_once_and_in_order(database: Database) -> None:
    done: list[str] = []

    async def later() -> None:
        done.append("second")

    async with database.unit_of_work() as session:
        after_commit(session, lambda: done.append("first"))
        after_commit(session, later)
        assert done == []

    assert done == ["first", "second"]


async def test_steps_of_what_was_undone_do_not_run(database: Database) -> None:
    done: list[str] = []

    async def fail() -> None:
        async with database.unit_of_work() as session:
            after_commit(session, lambda: done.append("rolled back"))
            raise StopError

    with pytest.raises(StopError):
        await fail()
    async with database.unit_of_work() as session:
        with pytest.raises(StopError):
            async with transaction(session):
                after_commit(session, lambda: done.append("savepoint"))
                raise StopError
        after_commit(session, lambda: done.append("kept"))

    assert done == ["kept"]


async def test_a_commit_that_is_cut_off_undoes_nothing_elsewhere(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may stand, and did here: a file that the row names must not be deleted."""
    undone: list[str] = []
    commit = AsyncSession.commit

    async def cut_off(self: AsyncSession) -> None:
        await commit(self)
        raise asyncio.CancelledError

    async def work(name: str) -> None:
        async with database.unit_of_work() as session:
            after_rollback(session, lambda: undone.append(name))
            with pytest.raises(StopError):
                async with transaction(session):
                    after_rollback(session, lambda: undone.append(f"a part of what was {name}"))
                    raise StopError
            session.add(Probe(name="same"))

    with monkeypatch.context() as patch, pytest.raises(asyncio.CancelledError):
        patch.setattr(AsyncSession, "commit", cut_off)
        await work("cut off")
    with pytest.raises(DuplicateError):
        await work("refused")

    assert undone == ["a part of what was cut off", "refused", "a part of what was refused"]
    assert await names(database) == ["same"]


async def test_a_failing_step_does_not_stop_the_others(database: Database) -> None:
    done: list[str] = []

    def fail() -> None:
        raise StopError

    async with database.unit_of_work() as session:
        after_commit(session, fail)
        after_commit(session, lambda: done.append("other"))

    assert done == ["other"]


async def test_who_is_cancelled_in_a_step_still_runs_the_others(database: Database) -> None:
    """A job whose time is over has committed all the same: a cache must hear of it."""
    done: list[str] = []
    begun = asyncio.Event()

    async def slow() -> None:
        begun.set()
        await asyncio.sleep(60)

    async def work() -> None:
        async with database.unit_of_work() as session:
            after_commit(session, slow)
            after_commit(session, lambda: done.append("other"))

    working = asyncio.create_task(work())
    await begun.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working

    assert done == ["other"]


async def test_the_second_of_two_changes_to_one_version_is_refused(database: Database) -> None:
    async with database.unit_of_work() as session:
        made = await Probes(session).add(Probe(name="one"))

    async with database.session() as late:
        stale = await Probes(late).get(made.id)
        await late.commit()
        async with database.unit_of_work() as session:
            await Probes(session).update(await Probes(session).get(made.id), rank=1)
        with pytest.raises(StaleVersionError):
            await Probes(late).update(stale, rank=2)
        await late.rollback()


async def test_a_softly_deleted_row_is_there_for_nobody(database: Database) -> None:
    async with database.unit_of_work() as session:
        row = await Probes(session).add(Probe(name="gone"))
        await Probes(session).delete(row)

    async with database.unit_of_work() as session:
        assert await Probes(session).find(row.id) is None
        assert await Probes(session).count() == 0
    assert await names(database) == ["gone"]


async def test_moments_come_back_aware_and_in_utc(database: Database) -> None:
    berlin = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    async with database.unit_of_work() as session:
        row = await Probes(session).add(Probe(name="one", created_at=berlin))
        identifier = row.id

    async with database.session() as session:
        read = await Probes(session).get(identifier)

    assert read.created_at == berlin
    assert read.created_at.tzinfo is UTC
    assert read.updated_at.tzinfo is UTC


async def test_a_moment_without_a_zone_is_refused(database: Database) -> None:
    async with database.session() as session:
        naive = datetime(2026, 5, 1)  # noqa: DTZ001 - the mistake under test
        with pytest.raises(StatementError, match="has no time zone"):
            await Probes(session).add(Probe(name="one", created_at=naive))


async def test_foreign_keys_and_checks_are_not_hidden_as_conflicts(database: Database) -> None:
    """A missing value is a mistake of the code: it stays what it is."""
    async with database.session() as session:
        with pytest.raises(IntegrityError):
            await session.execute(text("INSERT INTO probe (name) VALUES ('x')"))
