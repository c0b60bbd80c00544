"""Events leave with the commit, as jobs do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from dishka import AsyncContainer, Provider
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.errors import ServiceUnavailableError
from app.core.events import Envelope, Event, Events, EventSink, InvalidEventError
from app.core.lifecycle import Lifecycle
from app.core.module import Hook, Module
from app.core.settings import load_settings
from app.infrastructure.database import Database, TransientDatabaseError
from app.infrastructure.outbox import Outbox, store
from app.infrastructure.outbox import outbox as outbox_file
from app.infrastructure.outbox.models import OutboxRow, RowKind
from app.infrastructure.queue import Job, JobOptions, JobQueue, QueueUnavailableError
from tests.infrastructure.outbox.conftest import UndoError, scalars
from tests.infrastructure.outbox.test_outbox import LONG_AGO, PENDING, keep, make_due, row

PATIENCE = 60.0
"""Seconds for what should take a moment."""
GOT: list[Envelope] = []
PROBLEMS: list[Exception] = []


class Sold(Event):
    name = "tea.sold"

    number: int


async def note(_: AsyncContainer, envelopes: Sequence[Envelope]) -> None:
    if PROBLEMS:
        raise PROBLEMS[-1]
    GOT.extend(envelopes)


@asynccontextmanager
async def service(
    *overrides: Provider, startup: Hook | None = None
) -> AsyncIterator[AsyncContainer]:
    """Run a service with one sink more, of a module that starts after the outbox."""
    probe = Module(
        name="probe",
        summary="Notes",
        requires=("outbox",),
        startup=startup,
        contributes=(EventSink(note),),
    )
    registry = Registry((*discover().modules, probe))
    settings = load_settings(registry.modules)
    built = build_container(registry, settings, *overrides)
    async with Lifecycle(registry, settings, built):
        yield built


@pytest.fixture(autouse=True)
def nothing_heard() -> None:
    """Forget what other tests have heard."""
    GOT.clear()
    PROBLEMS.clear()


@pytest.fixture
async def container(
    overrides: list[Provider], test_database: Database
) -> AsyncIterator[AsyncContainer]:
    """The container of a started service."""
    del test_database
    async with service(*overrides) as built:
        yield built


def event_row(number: int) -> OutboxRow:
    """What a process leaves that dies between commit and delivery."""
    envelope = Envelope(
        id=uuid4(),
        name=Sold.name,
        version=Sold.version,
        occurred_at=LONG_AGO,
        source="test",
        event=Sold(number=number),
    )
    left = row(envelope.to_json())
    left.kind = RowKind.EVENT
    return left


def numbers() -> list[int]:
    return [envelope.read(Sold).number for envelope in GOT]


async def test_an_event_leaves_with_the_commit(
    container: AsyncContainer, database: Database
) -> None:
    """Also one with a key; and what is read back is what was published."""
    events = await container.get(Events)
    async with database.unit_of_work() as session:
        first = await events.publish(Sold(number=1))
        await events.publish(Sold(number=2), key="tea")
        await session.flush()
        assert GOT == []
        kinds = await session.scalars(text("SELECT kind FROM outbox"))
        assert set(kinds) == {RowKind.EVENT}

    assert numbers() == [1, 2]
    assert GOT[0] is first
    assert await scalars(database, PENDING) == [0]


async def test_a_rollback_leaves_nothing_but_what_was_said_at_once(
    container: AsyncContainer, database: Database
) -> None:
    events = await container.get(Events)

    async def work() -> None:
        async with database.unit_of_work():
            await events.publish(Sold(number=1))
            await events.publish(Sold(number=2), immediate=True)
            raise UndoError

    with pytest.raises(UndoError):
        await work()

    assert numbers() == [2]
    assert await scalars(database, "SELECT count(*) FROM outbox") == [0]


async def test_outside_of_a_unit_of_work_events_are_said_at_once(
    container: AsyncContainer, database: Database
) -> None:
    await (await container.get(Events)).publish(Sold(number=1))

    assert numbers() == [1]
    assert await scalars(database, "SELECT count(*) FROM outbox") == [0]


async def test_what_a_task_says_while_the_unit_of_work_is_committed_is_not_lost(
    container: AsyncContainer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is too late for that commit: it is said at once."""
    events = await container.get(Events)
    committed, said = asyncio.Event(), asyncio.Event()
    commit = AsyncSession.commit

    async def slow(self: AsyncSession) -> None:
        await commit(self)
        committed.set()
        await said.wait()

    async def late() -> None:
        await committed.wait()
        await events.publish(Sold(number=1))
        said.set()

    monkeypatch.setattr(AsyncSession, "commit", slow)
    async with database.unit_of_work():
        task = asyncio.create_task(late())
    await task

    assert numbers() == [1]


async def test_what_was_left_is_delivered_by_the_relay_in_order_of_its_key(
    container: AsyncContainer, database: Database
) -> None:
    """Nobody could take events at the commit; then somebody can."""
    events, outbox = await container.get(Events), await container.get(Outbox)
    PROBLEMS.append(ServiceUnavailableError())
    for number in (1, 2, 3):
        async with database.unit_of_work():
            await events.publish(Sold(number=number), key="tea")
    assert await scalars(database, PENDING) == [3]
    assert await scalars(database, "SELECT max(attempts) FROM outbox") == [0]

    PROBLEMS.clear()
    for _ in range(3):
        await make_due(database)
        await outbox.relay()

    assert numbers() == [1, 2, 3]
    assert all(envelope.event is None for envelope in GOT)  # they have travelled
    assert await scalars(database, PENDING) == [0]


async def test_a_queue_that_is_away_keeps_no_event_waiting(
    container: AsyncContainer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were taken together; the job waits for its broker alone."""

    async def away(_self: JobQueue, _jobs: Sequence[Job]) -> Any:
        raise QueueUnavailableError

    monkeypatch.setattr(JobQueue, "publish_many", away)
    outbox = await container.get(Outbox)
    job = row(Job(id="a", name="note", body='"x"', options=JobOptions()))
    await keep(database, job, event_row(1))

    assert await outbox.relay() == 0

    assert numbers() == [1]
    assert await scalars(database, PENDING) == [1]


@pytest.mark.usefixtures("real_commits")
async def test_rows_are_held_for_as_long_as_it_takes(
    container: AsyncContainer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when one try to hold on to them fails."""
    tries: list[int] = []
    held = asyncio.Event()
    hold = store.hold

    async def hold_at_last(*arguments: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise TransientDatabaseError
        await hold(*arguments)
        held.set()

    async def slow(_self: Events, envelopes: Sequence[Envelope]) -> None:
        GOT.extend(envelopes)
        async with asyncio.timeout(PATIENCE):
            await held.wait()

    monkeypatch.setattr(outbox_file, "LEASE", timedelta(seconds=0.3))
    monkeypatch.setattr(store, "hold", hold_at_last)
    monkeypatch.setattr(Events, "deliver", slow)
    await keep(database, event_row(1))

    assert await (await container.get(Outbox)).relay() == 1
    assert numbers() == [1]
    assert await scalars(database, PENDING) == [0]


async def test_what_a_relay_has_taken_meanwhile_is_left_to_it(
    container: AsyncContainer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first event of a unit of work takes its time: the second is taken for left behind."""
    events = await container.get(Events)
    deliver = Events.deliver

    async def slow(self: Events, envelopes: Sequence[Envelope]) -> None:
        monkeypatch.setattr(Events, "deliver", deliver)
        later = datetime.now(UTC) + timedelta(seconds=10)
        async with database.unit_of_work() as session:
            taken = await store.claim(session, now=later, lease=timedelta(minutes=1), limit=9)
            assert len(taken) == 1
        await deliver(self, envelopes)

    monkeypatch.setattr(Events, "deliver", slow)
    async with database.unit_of_work():
        await events.publish(Sold(number=1))
        await events.publish(Sold(number=2))

    assert numbers() == [1]  # whoever has taken the second delivers it
    assert await scalars(database, PENDING) == [1]


async def test_one_a_sink_refuses_is_dead_in_the_end_and_stops_no_job(
    container: AsyncContainer, database: Database
) -> None:
    events, outbox = await container.get(Events), await container.get(Outbox)
    PROBLEMS.append(ValueError("not this one"))
    async with database.unit_of_work():
        await events.publish(Sold(number=1))
    for _ in range(9):
        await make_due(database)
        await outbox.relay()

    async with database.unit_of_work() as session:
        (found,) = await store.dead(session, 10)
        assert (found.kind, found.error) == (RowKind.EVENT, "ValueError: not this one")
    PROBLEMS.clear()
    async with database.unit_of_work() as session:
        assert await store.replay(session, datetime(2020, 1, 1, tzinfo=UTC)) == 1
    await outbox.relay()
    assert numbers() == [1]


async def test_a_row_that_holds_no_event_is_dead(
    container: AsyncContainer, database: Database
) -> None:
    bad = row("nonsense")
    bad.kind = RowKind.EVENT
    await keep(database, bad)

    await (await container.get(Outbox)).relay()

    async with database.unit_of_work() as session:
        (found,) = await store.dead(session, 10)
    assert (found.error or "").startswith("no event: no event")


async def test_a_key_or_a_body_that_can_not_be_kept_is_refused_at_the_call(
    container: AsyncContainer, database: Database
) -> None:
    events = await container.get(Events)
    async with database.unit_of_work():
        with pytest.raises(InvalidEventError, match="1 to 200"):
            await events.publish(Sold(number=1), key="k" * 201)


@pytest.mark.usefixtures("real_commits")
async def test_a_worker_begins_to_relay_when_events_can_be_taken(
    overrides: list[Provider], test_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sooner, and what has waited for an hour would be put off by another minute."""
    await keep(test_database, event_row(1))
    monkeypatch.setenv("APP_ROLE", "worker")

    async def connect(_: AsyncContainer) -> None:
        await asyncio.sleep(0.5)  # as a broker's module does

    async with service(*overrides, startup=connect), asyncio.timeout(20):
        while await scalars(test_database, PENDING) != [0]:  # noqa: ASYNC110 - the relay does it
            await asyncio.sleep(0.05)

    assert numbers() == [1]


@pytest.mark.usefixtures("real_commits")
async def test_a_process_without_side_work_relays_nothing(
    overrides: list[Provider], test_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as those of a compute pool, which are workers too."""
    await keep(test_database, event_row(1))
    monkeypatch.setenv("APP_ROLE", "worker")
    monkeypatch.setenv("APP_SIDE_WORK", "false")

    async with service(*overrides):
        await asyncio.sleep(0.5)

    assert await scalars(test_database, PENDING) == [1]
