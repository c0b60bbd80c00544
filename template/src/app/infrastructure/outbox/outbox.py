"""Jobs and events that are committed with the rows they belong to, and published after that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from loguru import logger
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import Clock
from app.core.errors import AppError, ServiceUnavailableError
from app.core.events import Envelope, Events, InvalidEventError
from app.core.ids import new_id
from app.core.tasks import end
from app.infrastructure.database import Database, after_commit, current_session
from app.infrastructure.outbox import store
from app.infrastructure.outbox.errors import NoUnitOfWorkError
from app.infrastructure.outbox.models import LONGEST_KEY, OutboxRow, RowKind
from app.infrastructure.outbox.settings import OutboxSettings
from app.infrastructure.queue import InvalidJobError, Job, JobQueue, QueueUnavailableError

LEASE = timedelta(seconds=30)
"""How long rows belong to the relay that took them."""
SHORTEST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=1)
"""Between two tries."""
JOB = TypeAdapter(Job)
AWAY = (QueueUnavailableError, ServiceUnavailableError)
"""Raised by whoever takes them, when it can take nothing at all."""


Item = Job | Envelope
Readable = tuple[OutboxRow, Item]


class Outbox:
    """Writes jobs and events into the caller's transaction; publishes what is committed."""

    def __init__(
        self,
        database: Database,
        jobs: JobQueue,
        events: Events,
        settings: OutboxSettings,
        clock: Clock,
    ) -> None:
        """Publish to `jobs` and `events`."""
        self._database = database
        self._jobs = jobs
        self._events = events
        self._settings = settings
        self._clock = clock

    def add(self, *jobs: Job, key: str | None = None) -> None:
        """Publish jobs when the running unit of work is committed; never, when it is rolled back.

            outbox.add(jobs.prepare(ship, order.id), key=f"order:{order.id}")

        Args:
            jobs: what `JobQueue.prepare` returns.
            key: jobs of one key are published in the order they were added, as far as that is
                one: lock the thing they are about first, where transactions may overlap.

        Raises:
            NoUnitOfWorkError: nothing that could be committed is running.
            InvalidJobError: the key is too long.
        """
        if key is not None and not 0 < len(key) <= LONGEST_KEY:
            message = f"a key of the outbox has 1 to {LONGEST_KEY} characters"
            raise InvalidJobError(message)
        bodies = [JOB.dump_json(job).decode() for job in jobs]
        session, rows, due = self._write(RowKind.JOB, bodies, key)
        if key is None:
            after_commit(session, partial(self._publish, rows, jobs))
        else:  # others of this key may come first
            items = {row.id: job for row, job in zip(rows, jobs, strict=True)}
            after_commit(session, partial(self._publish_claimed, items, due))

    def add_events(self, *envelopes: Envelope) -> None:
        """Deliver events when the running unit of work is committed, those of one key in order.

        Raises:
            NoUnitOfWorkError: nothing that could be committed is running.
            InvalidEventError: one can't be written as JSON, or its key is too long.
        """
        for envelope in envelopes:
            key = envelope.key
            if key is not None and not 0 < len(key) <= LONGEST_KEY:
                message = f"a key of the outbox has 1 to {LONGEST_KEY} characters"
                raise InvalidEventError(message)
            session, rows, due = self._write(RowKind.EVENT, [envelope.to_json()], key)
            after_commit(session, partial(self._publish_claimed, {rows[0].id: envelope}, due))

    def _write(
        self, kind: RowKind, bodies: Sequence[str], key: str | None
    ) -> tuple[AsyncSession, list[OutboxRow], datetime]:
        session = current_session()
        if session is None:
            raise NoUnitOfWorkError
        now = self._clock.now()
        due = now + timedelta(seconds=self._settings.outbox_patience)
        rows = [
            OutboxRow(
                id=new_id(),
                key=key,
                kind=kind,
                job=body,
                created_at=now,
                next_at=due,
                attempts=0,
            )
            for body in bodies
        ]
        session.add_all(rows)
        return session, rows, due

    async def _publish(self, rows: Sequence[OutboxRow], jobs: Sequence[Job]) -> None:
        """Publish what was just committed. The relay does, should this fail or never be run."""
        # A row that was undone, by `session.begin_nested()` for one, has no identity any more.
        committed = {
            identity[0]: job
            for row, job in zip(rows, jobs, strict=True)
            if (identity := inspect(row).identity)
        }
        if not committed:
            return
        try:
            await self._jobs.publish_many(list(committed.values()))
        except QueueUnavailableError as error:
            logger.warning("{} committed jobs are left to the relay: {}", len(committed), error)
            return
        async with self._database.unit_of_work() as session:
            await store.mark_published(session, list(committed), self._clock.now())

    async def _publish_claimed(self, items: Mapping[UUID, Item], due: datetime) -> None:
        for _ in items:  # of one key, one at a time
            if not await self.relay(only=items, until=due):
                break

    async def relay(
        self, only: Mapping[UUID, Item] | None = None, until: datetime | None = None
    ) -> int:
        """Publish a batch of rows whose time has come, or of these; return how many were taken.

        Of these also such whose time comes `until` then: what another relay has taken is its own.

        0 also means that whoever should take some of them is away.

        Publishing a job again adds nothing while the queue knows its id (until it is done, and then
        for `QUEUE_KEEP_RESULTS`): a relay that dies between publishing and noting it does no harm.
        An event that is delivered again has the same id.
        """
        async with self._database.unit_of_work() as session:
            rows = await store.claim(
                session,
                now=self._clock.now(),
                lease=LEASE,
                limit=self._settings.outbox_batch,
                only=list(only) if only is not None else None,
                until=until,
            )
        known = only or {}
        readable: list[Readable] = [
            (row, item) for row in rows if (item := known.get(row.id) or await self._read(row))
        ]
        is_away = False
        for kind in RowKind:  # who takes the one may be there when who takes the other is not
            found = [pair for pair in readable if pair[0].kind == kind]
            if found and not await self._relay_all(kind, found, is_own=only is not None):
                is_away = True
        return 0 if is_away else len(rows)

    async def _relay_all(self, kind: RowKind, found: Sequence[Readable], *, is_own: bool) -> bool:
        """Publish rows of one kind; False: whoever takes them is away."""
        rows = [row for row, _ in found]
        try:
            async with self._held(rows):
                await self._send(item for _, item in found)
        except AWAY as error:
            await self._wait_for_broker(rows, error)
            if not is_own:
                logger.warning("The relay can't publish {} {}s: {}", len(rows), kind, error)
            return False
        except Exception as error:  # noqa: BLE001 - one of them is at fault; find out which
            logger.opt(exception=error).error("The relay publishes {}s one by one", kind)
            await self._one_by_one(found)
        else:
            await self._published(rows)
        return True

    async def _send(self, items: Iterable[Item]) -> None:
        """Publish things of one kind."""
        jobs: list[Job] = []
        envelopes: list[Envelope] = []
        for item in items:
            if isinstance(item, Job):
                jobs.append(item)
            else:
                envelopes.append(item)
        if jobs:
            await self._jobs.publish_many(jobs)
        if envelopes:
            await self._events.deliver(envelopes)

    @asynccontextmanager
    async def _held(self, rows: Sequence[OutboxRow]) -> AsyncIterator[None]:
        """Keep rows from other relays for as long as it takes: handlers may run within."""

        async def hold() -> None:
            while True:
                await asyncio.sleep(LEASE.total_seconds() / 3)
                try:
                    async with self._database.unit_of_work() as session:
                        until = self._clock.now() + LEASE
                        await store.hold(session, [row.id for row in rows], until)
                except Exception as error:  # noqa: BLE001 - there are two more tries before it ends
                    logger.warning("The relay can't hold on to {} rows: {}", len(rows), error)

        holding = asyncio.create_task(hold(), name="outbox: hold rows")
        try:
            yield
        finally:
            await end(holding)
            await asyncio.gather(holding, return_exceptions=True)

    async def _read(self, row: OutboxRow) -> Item | None:
        """Return what a row holds; one that can't be read is dead."""
        try:
            if row.kind == RowKind.EVENT:
                return Envelope.from_json(row.job)
            job = JOB.validate_json(row.job)
        except (ValidationError, InvalidEventError) as error:
            await self._give_up(row, f"no {row.kind}: {error}")
            return None
        # A queue counts the delay from `created_at`: what is left of it is not to be shortened.
        if self._clock.now() - job.created_at < job.options.delay:
            return job
        return replace(job, options=replace(job.options, delay=timedelta()))

    async def _one_by_one(self, found: Sequence[Readable]) -> None:
        for number, (row, item) in enumerate(found):
            try:
                async with self._held([row]):
                    await self._send([item])
            except AWAY as error:
                await self._wait_for_broker([row for row, _ in found[number:]], error)
                return
            except Exception as error:  # noqa: BLE001 - noted on the row
                await self._try_again(row, f"{type(error).__name__}: {error}")
            else:
                await self._published([row])

    async def _published(self, rows: Sequence[OutboxRow]) -> None:
        async with self._database.unit_of_work() as session:
            await store.mark_published(session, [row.id for row in rows], self._clock.now())

    async def _wait_for_broker(self, rows: Sequence[OutboxRow], error: AppError) -> None:
        """Look again later, the later the longer they have waited. That was no try of theirs."""
        now = self._clock.now()
        waited = now - min(row.created_at for row in rows)
        pause = min(max(waited / 2, SHORTEST_PAUSE), LONGEST_PAUSE)
        async with self._database.unit_of_work() as session:
            ids = [row.id for row in rows]
            failure = store.Failure(error=str(error), next_at=now + pause)
            await store.mark_failed(session, ids, failure)

    async def _try_again(self, row: OutboxRow, error: str) -> None:
        if row.attempts + 1 >= self._settings.outbox_attempts:
            await self._give_up(row, error)
            return
        pause = min(SHORTEST_PAUSE * 2**row.attempts, LONGEST_PAUSE)
        async with self._database.unit_of_work() as session:
            failure = store.Failure(error=error, next_at=self._clock.now() + pause, tries=1)
            await store.mark_failed(session, [row.id], failure)

    async def _give_up(self, row: OutboxRow, error: str) -> None:
        logger.error("Row {} of the outbox is dead: {}", row.id, error)
        now = self._clock.now()
        async with self._database.unit_of_work() as session:
            failure = store.Failure(error=error, next_at=now, tries=1, dead_at=now)
            await store.mark_failed(session, [row.id], failure)

    async def purge(self) -> int:
        """Delete what has been kept long enough; return how many rows."""
        now = self._clock.now()
        async with self._database.unit_of_work() as session:
            return await store.purge(
                session,
                published=now - timedelta(seconds=self._settings.outbox_keep),
                done=now - timedelta(seconds=self._settings.inbox_keep),
            )
