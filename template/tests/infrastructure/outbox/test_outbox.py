"""The outbox: jobs leave with the commit, and with nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dishka import AsyncContainer
from sqlalchemy import bindparam, text

from app.core.health import HealthStatus
from app.core.ids import new_id
from app.infrastructure.database import (
    Database,
    UtcDateTime,
    after_commit,
    current_session,
    transaction,
)
from app.infrastructure.deferred import Tasks
from app.infrastructure.deferred.testing import until_done
from app.infrastructure.outbox import NoUnitOfWorkError, Outbox, store
from app.infrastructure.outbox.models import OutboxRow
from app.infrastructure.outbox.module import check
from app.infrastructure.outbox.outbox import JOB
from app.infrastructure.queue import (
    InvalidJobError,
    Job,
    JobHandle,
    JobOptions,
    JobQueue,
    JobState,
    QueueUnavailableError,
)
from tests.infrastructure.outbox.conftest import DONE, Shop, UndoError, count, note, scalars

PENDING = "SELECT count(*) FROM outbox WHERE published_at IS NULL AND dead_at IS NULL"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def row(job: Job | str, *, key: str | None = None, next_at: datetime = LONG_AGO) -> OutboxRow:
    """What a process leaves that dies between commit and publish."""
    body = job if isinstance(job, str) else JOB.dump_json(job).decode()
    return OutboxRow(
        id=new_id(), key=key, job=body, created_at=LONG_AGO, next_at=next_at, attempts=0
    )


async def keep(database: Database, *rows: OutboxRow) -> None:
    async with database.unit_of_work() as session:
        session.add_all(rows)


async def make_due(database: Database, **values: int) -> None:
    """Let the relay take every row at once."""
    changes = "".join(f", {name} = {value}" for name, value in values.items())
    statement = text(f"UPDATE outbox SET next_at = :t{changes}")  # noqa: S608 - the test's own
    async with database.unit_of_work() as session:
        await session.execute(statement.bindparams(bindparam("t", LONG_AGO, UtcDateTime())))


async def prepare(container: AsyncContainer, *words: str) -> list[Job]:
    jobs = await container.get(JobQueue)
    return [jobs.prepare(note, word) for word in words]


async def test_a_call_leaves_with_the_commit(container: AsyncContainer, database: Database) -> None:
    tasks = await container.get(Tasks)
    async with database.unit_of_work() as session:
        (job,) = await tasks.run_later(lambda run: run(Shop).sell("tea"))
        counts = await (await container.get(JobQueue)).engine.counts("default")
        assert sum(counts.values()) == 0
        assert await count(session, "tea") == 0

    assert await scalars(database, PENDING) == [0]
    await until_done(container)
    assert await job.result(timeout=60) == 1
    assert await scalars(database, "SELECT name FROM effects") == ["tea"]


async def test_a_rollback_leaves_nothing(container: AsyncContainer, database: Database) -> None:
    tasks = await container.get(Tasks)
    handles: list[JobHandle[Any]] = []

    async def work() -> None:
        async with database.unit_of_work():
            handles.extend(await tasks.run_later(lambda run: run(Shop).sell("tea")))
            handles.extend(
                await tasks.run_later(lambda run: run(Shop).sell("milk"), immediate=True)
            )
            raise UndoError

    with pytest.raises(UndoError):
        await work()

    assert await scalars(database, "SELECT count(*) FROM outbox") == [0]
    await until_done(container)
    assert await handles[1].result(timeout=60) == 1
    assert await scalars(database, "SELECT name FROM effects") == ["milk"]


async def test_outside_of_a_unit_of_work_calls_leave_at_once(
    container: AsyncContainer, database: Database
) -> None:
    tasks = await container.get(Tasks)
    outbox = await container.get(Outbox)
    (job,) = await tasks.run_later(lambda run: run(Shop).sell("tea"))

    assert await scalars(database, "SELECT count(*) FROM outbox") == [0]
    assert (await job.record()).id == job.id
    with pytest.raises(NoUnitOfWorkError):
        outbox.add(*await prepare(container, "x"))


async def test_a_savepoint_takes_its_calls_along(
    container: AsyncContainer, database: Database
) -> None:
    outbox = await container.get(Outbox)
    first, second, third, fourth = await prepare(container, "first", "second", "third", "fourth")

    async def fail() -> None:
        session = current_session()
        assert session is not None
        async with transaction(session):
            outbox.add(second)
            raise UndoError

    async with database.unit_of_work() as session:
        outbox.add(first)
        with pytest.raises(UndoError):
            await fail()
        outbox.add(third)
        with pytest.raises(UndoError):
            async with session.begin_nested():  # the library's own way to say it
                outbox.add(fourth)
                await session.flush()
                raise UndoError
    await until_done(container)

    assert sorted(DONE) == ["first", "third"]


async def test_what_is_rolled_back_by_hand_or_by_a_timeout_takes_its_calls_along(
    container: AsyncContainer, database: Database
) -> None:
    outbox = await container.get(Outbox)
    jobs = await prepare(container, "rolled back", "timed out", "kept")

    async with database.unit_of_work() as session:
        outbox.add(jobs[0])
        await session.rollback()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), transaction(session):
                outbox.add(jobs[1])
                await asyncio.sleep(9)
        outbox.add(jobs[2])
    await until_done(container)

    assert DONE == ["kept"]


async def test_a_unit_of_work_is_over_after_its_commit(database: Database) -> None:
    """Also for tasks it has started, and for what is run after the commit."""
    seen: list[object] = []
    wait = asyncio.Event()

    async def later() -> None:
        await wait.wait()
        seen.append(current_session())

    async with database.unit_of_work() as outer:
        task = asyncio.create_task(later())
        async with database.unit_of_work() as inner:
            assert current_session() is inner
            after_commit(inner, lambda: seen.append(current_session()))
        assert current_session() is outer
    wait.set()
    await task

    assert (current_session(), seen) == (None, [None, None])


async def test_what_a_crash_left_is_published_once(
    container: AsyncContainer, database: Database
) -> None:
    """Also where the crash came after publishing, and before that was noted."""
    outbox = await container.get(Outbox)
    jobs = await prepare(container, "left", "published")
    await (await container.get(JobQueue)).publish_many(jobs[1:])
    future = datetime.now(UTC) + timedelta(minutes=1)
    await keep(
        database, *map(row, jobs), row((await prepare(container, "fresh"))[0], next_at=future)
    )

    assert await outbox.relay() == 2
    assert await outbox.relay() == 0
    await until_done(container)

    assert sorted(DONE) == ["left", "published"]
    assert await scalars(database, PENDING) == [1]


async def test_jobs_of_one_key_keep_their_order(
    container: AsyncContainer, database: Database
) -> None:
    outbox = await container.get(Outbox)
    jobs = await prepare(container, "1", "2", "3", "x")
    async with database.unit_of_work():
        outbox.add(jobs[0], key="a")
    await keep(database, row(jobs[1], key="a"))
    async with database.unit_of_work():
        outbox.add(jobs[2], key="a")  # has to wait for the one before it
        outbox.add(jobs[3], key="b")

    assert await scalars(database, PENDING) == [2]
    published = "SELECT job FROM outbox WHERE published_at IS NOT NULL ORDER BY published_at"
    taken = [await outbox.relay(), await outbox.relay(), await outbox.relay()]
    assert taken[0] == 1
    order = [JOB.validate_json(body).payload for body in await scalars(database, published)]
    assert [word for word in order if word != "x"] == ["1", "2", "3"][: len(order) - 1]
    assert order[:2] == ["1", "x"]


async def test_a_delay_counts_from_the_call(container: AsyncContainer, database: Database) -> None:
    """However late the relay publishes it: neither later than that, nor earlier."""
    outbox = await container.get(Outbox)
    jobs = await container.get(JobQueue)
    late = jobs.prepare(note, "late", delay=timedelta(days=1))
    early = jobs.prepare(note, "early", delay=timedelta(hours=2))
    rows = row(replace(late, created_at=LONG_AGO)), row(early)
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    rows[1].created_at = hour_ago
    rows[1].job = JOB.dump_json(replace(early, created_at=hour_ago)).decode()
    await keep(database, *rows)

    await outbox.relay()
    await until_done(container)

    assert DONE == ["late"]
    assert await jobs.handle(early.queue, early.id).state() is JobState.DELAYED


async def test_a_broker_that_is_away_is_waited_for(
    container: AsyncContainer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long: nothing is given up, and the caller hears nothing of it."""
    outbox = await container.get(Outbox)
    publish = JobQueue.publish_many

    async def away(_self: JobQueue, _jobs: Sequence[Job]) -> Any:
        raise QueueUnavailableError

    monkeypatch.setattr(JobQueue, "publish_many", away)
    async with database.unit_of_work():
        outbox.add(*await prepare(container, "patient"))
        outbox.add(*await prepare(container, "keyed"), key="a")
    await make_due(database, attempts=50)
    assert await outbox.relay() == 0
    assert await scalars(database, PENDING) == [2]

    monkeypatch.setattr(JobQueue, "publish_many", publish)
    await make_due(database)
    assert await outbox.relay() == 2
    await until_done(container)
    assert sorted(DONE) == ["keyed", "patient"]


async def test_what_can_not_be_published_is_dead_and_can_be_replayed(
    container: AsyncContainer, database: Database
) -> None:
    outbox = await container.get(Outbox)
    bad, good = row("nonsense"), row((await prepare(container, "good"))[0])
    await keep(database, bad, good)

    await outbox.relay()

    report = await check(container)
    assert report.status is HealthStatus.DEGRADED
    assert report.details["dead"] == 1
    async with database.unit_of_work() as session:
        (found,) = await store.dead(session, 10)
        assert (found.id, (found.error or "")[:6]) == (bad.id, "no job")
        found.job = JOB.dump_json((await prepare(container, "mended"))[0]).decode()
    async with database.unit_of_work() as session:
        assert await store.replay(session, LONG_AGO, [bad.id]) == 1
    await outbox.relay()
    await until_done(container)
    assert sorted(DONE) == ["good", "mended"]
    assert (await check(container)).status is HealthStatus.UP


async def test_one_that_the_queue_refuses_does_not_stop_the_others(
    container: AsyncContainer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = await container.get(Outbox)
    publish = JobQueue.publish_many

    async def picky(self: JobQueue, jobs: Sequence[Job]) -> Any:
        if any(job.payload == "bad" for job in jobs):
            message = "this one can't be had"
            raise InvalidJobError(message)
        return await publish(self, jobs)

    monkeypatch.setattr(JobQueue, "publish_many", picky)
    await keep(database, *map(row, await prepare(container, "bad", "good")))
    for _ in range(10):
        await outbox.relay()
        await make_due(database)

    assert await scalars(database, PENDING) == [0]
    async with database.unit_of_work() as session:
        (found,) = await store.dead(session, 10)
    assert (found.attempts, found.error) == (10, "InvalidJobError: this one can't be had")
    await until_done(container)
    assert DONE == ["good"]


async def test_rows_are_deleted_when_they_were_kept_long_enough(
    container: AsyncContainer, database: Database
) -> None:
    outbox = await container.get(Outbox)
    async with database.unit_of_work():
        outbox.add(*await prepare(container, "a"))
    old = row("{}")
    old.published_at = LONG_AGO
    await keep(database, old)

    assert await outbox.purge() == 1
    assert await scalars(database, "SELECT count(*) FROM outbox") == [1]


async def test_a_missing_table_is_said_and_not_raised(
    container: AsyncContainer, database: Database
) -> None:
    async with database.unit_of_work() as session:
        await session.execute(text("ALTER TABLE outbox RENAME TO elsewhere"))

    assert (await check(container)).status is HealthStatus.DOWN


async def test_keys_are_bounded(container: AsyncContainer, database: Database) -> None:
    outbox = await container.get(Outbox)
    async with database.unit_of_work():
        with pytest.raises(InvalidJobError, match="1 to 200"):
            outbox.add(*await prepare(container, "a"), key="k" * 201)


@pytest.mark.usefixtures("real_commits")
async def test_relays_do_not_take_the_same_rows(test_database: Database) -> None:
    job = Job(id="a", name="note", body='"x"', options=JobOptions())
    await keep(test_database, *(row(job) for _ in range(60)))
    taken: list[Any] = []

    async def relay() -> None:
        while True:
            async with test_database.unit_of_work() as session:
                rows = await store.claim(
                    session, now=datetime.now(UTC), lease=timedelta(minutes=1), limit=7
                )
            if not rows:
                return
            taken.extend(found.id for found in rows)

    await asyncio.gather(*(relay() for _ in range(4)))

    assert len(taken) == len(set(taken)) == 60
