"""Jobs that are committed with the rows they belong to, and published after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID

from loguru import logger
from pydantic import TypeAdapter, ValidationError

from app.core.clock import Clock
from app.core.ids import new_id
from app.infrastructure.database import Database, after_commit, current_session
from app.infrastructure.outbox import store
from app.infrastructure.outbox.errors import NoUnitOfWorkError
from app.infrastructure.outbox.models import LONGEST_KEY, OutboxRow
from app.infrastructure.outbox.settings import OutboxSettings
from app.infrastructure.queue import InvalidJobError, Job, JobQueue, QueueUnavailableError

LEASE = timedelta(seconds=30)
"""How long rows belong to the relay that took them."""
SHORTEST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=1)
"""Between two tries."""
JOB = TypeAdapter(Job)


class Outbox:
    """Writes jobs into the caller's transaction; publishes what is committed."""

    def __init__(
        self, database: Database, jobs: JobQueue, settings: OutboxSettings, clock: Clock
    ) -> None:
        """Publish to `jobs`."""
        self._database = database
        self._jobs = jobs
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
        session = current_session()
        if session is None:
            raise NoUnitOfWorkError
        if key is not None and not 0 < len(key) <= LONGEST_KEY:
            message = f"a key of the outbox has 1 to {LONGEST_KEY} characters"
            raise InvalidJobError(message)
        now = self._clock.now()
        rows = [
            OutboxRow(
                id=new_id(),
                key=key,
                job=JOB.dump_json(job).decode(),
                created_at=now,
                next_at=now + timedelta(seconds=self._settings.outbox_patience),
                attempts=0,
            )
            for job in jobs
        ]
        session.add_all(rows)
        ids = [row.id for row in rows]
        if key is None:
            after_commit(session, partial(self._publish, ids, jobs))
        else:  # others of this key may come first
            after_commit(session, partial(self._publish_claimed, ids))

    async def _publish(self, ids: Sequence[UUID], jobs: Sequence[Job]) -> None:
        """Publish what was just committed. The relay does, should this fail or never be run."""
        try:
            await self._jobs.publish_many(jobs)
        except QueueUnavailableError as error:
            logger.warning("{} committed jobs are left to the relay: {}", len(jobs), error)
            return
        async with self._database.unit_of_work() as session:
            await store.mark_published(session, ids, self._clock.now())

    async def _publish_claimed(self, ids: Sequence[UUID]) -> None:
        for _ in ids:  # of one key, one at a time
            if not await self.relay(only=ids):
                break

    async def relay(self, only: Sequence[UUID] | None = None) -> int:
        """Publish a batch of rows whose time has come, or of these; return how many were taken.

        Publishing a job again adds nothing while the queue knows its id (until it is done, and then
        for `QUEUE_KEEP_RESULTS`): a relay that dies between publishing and noting it does no harm.
        """
        async with self._database.unit_of_work() as session:
            rows = await store.claim(
                session,
                now=self._clock.now(),
                lease=LEASE,
                limit=self._settings.outbox_batch,
                only=only,
            )
        readable = [(row, job) for row in rows if (job := await self._read(row))]
        if not readable:
            return len(rows)
        try:
            await self._jobs.publish_many([job for _, job in readable])
        except QueueUnavailableError as error:
            await self._wait_for_broker([row for row, _ in readable], error)
            if only is None:
                logger.warning("The relay can't publish {} jobs: {}", len(readable), error)
            return 0
        except Exception as error:  # noqa: BLE001 - one of them is at fault; find out which
            logger.opt(exception=error).error("The relay publishes jobs one by one")
            await self._one_by_one(readable)
        else:
            await self._published([row for row, _ in readable])
        return len(rows)

    async def _read(self, row: OutboxRow) -> Job | None:
        """Return the job of a row; one that can't be read is dead."""
        try:
            job = JOB.validate_json(row.job)
        except ValidationError as error:
            await self._give_up(row, f"no job: {error}")
            return None
        passed = self._clock.now() - row.created_at
        delay = max(job.options.delay - passed, timedelta())
        return replace(job, options=replace(job.options, delay=delay))

    async def _one_by_one(self, found: Sequence[tuple[OutboxRow, Job]]) -> None:
        for number, (row, job) in enumerate(found):
            try:
                await self._jobs.publish_many([job])
            except QueueUnavailableError as error:
                await self._wait_for_broker([row for row, _ in found[number:]], error)
                return
            except Exception as error:  # noqa: BLE001 - noted on the row
                await self._try_again(row, f"{type(error).__name__}: {error}")
            else:
                await self._published([row])

    async def _published(self, rows: Sequence[OutboxRow]) -> None:
        async with self._database.unit_of_work() as session:
            await store.mark_published(session, [row.id for row in rows], self._clock.now())

    async def _wait_for_broker(
        self, rows: Sequence[OutboxRow], error: QueueUnavailableError
    ) -> None:
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
