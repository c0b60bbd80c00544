"""The engine as the port knows it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis

from app.infrastructure.queue.bullmq import scripts
from app.infrastructure.queue.bullmq.consumer import BullmqConsumer, ConsumerParts
from app.infrastructure.queue.bullmq.listing import Listing
from app.infrastructure.queue.bullmq.schedulers import Schedulers
from app.infrastructure.queue.bullmq.store import Retention, Store
from app.infrastructure.queue.bullmq.watch import LONGEST_WAIT, Watch
from app.infrastructure.queue.bullmq.wire import STATES, read_record, write_failure
from app.infrastructure.queue.engine import Consumer, JobRunner, QueueLimits
from app.infrastructure.queue.errors import (
    InvalidJobError,
    QueueUnavailableError,
)
from app.infrastructure.queue.handle import already_published
from app.infrastructure.queue.jobs import Job, JobFailure, JobRecord, JobState
from app.infrastructure.queue.ports import EngineParts
from app.infrastructure.queue.redis_scripts import Call, Commands, Word
from app.infrastructure.queue.schedules import Schedule, ScheduleRecord
from app.infrastructure.queue.signals import Signals
from app.infrastructure.queue.waiting import wait_for_end

LARGEST_BATCH = 500
"""Jobs added in one transaction: Redis serves nobody else meanwhile."""
CANCELLED = JobFailure(type="Cancelled", message="cancelled before it was started")


class BullmqEngine:
    """See `JobEngine`."""

    def __init__(self, parts: EngineParts) -> None:
        """Prepare; nothing is connected yet."""
        self._settings = parts.settings
        self._connect = parts.connect
        self._multiplex = parts.multiplex
        self._redis: Redis = parts.connect()
        timeout = parts.settings.queue_publish_timeout
        self._commands = Commands(scripts.EVERY, self._redis, timeout, parts.multiplex(timeout))
        self._signals = Signals(self._redis, parts.keys)
        # A hash tag: in a cluster the keys of all queues lie together, as the scripts need it.
        self.prefix = f"{{{parts.keys.prefix}}}"
        self._retention = Retention(
            results=parts.settings.queue_keep_results,
            completed=parts.settings.queue_keep_completed,
            dead=parts.settings.queue_keep_dead,
        )
        self._stores: dict[str, Store] = {}
        self._runners: dict[str, JobRunner] = {}
        self._schedulers = Schedulers(self._commands, self.prefix)
        self._listing = Listing(self._commands, self.prefix)

    def _store(self, queue: str) -> Store:
        if queue not in self._stores:
            lock = self._settings.queue_lock
            store = Store(self._commands, self.prefix, queue, lock, self._retention)
            self._stores[queue] = store
        return self._stores[queue]

    async def start(self) -> None:
        """See `JobEngine.start`."""
        await self._commands.load()

    async def stop(self) -> None:
        """See `JobEngine.stop`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await self._signals.stop()
        with suppress(QueueUnavailableError):
            await self._commands.close()

    async def check(self) -> None:
        """See `JobEngine.check`."""
        await self._commands.execute("PING")

    async def publish(self, jobs: Sequence[Job]) -> list[str]:
        """See `JobEngine.publish`. More than 500 go in several transactions."""
        ids: list[str] = []
        jobs = self._signals.addressed(jobs)
        for begin in range(0, len(jobs), LARGEST_BATCH):
            calls = [self._store(j.queue).adding(j) for j in jobs[begin : begin + LARGEST_BATCH]]
            if len(calls) == 1:
                answers = [await self._commands.run(calls[0])]
            else:
                answers = await self._commands.run_all(calls)
            ids += [_added(answer) for answer in answers]
        return ids

    async def publish_after(self, parent: Job, children: Sequence[Job]) -> list[str]:
        """See `JobEngine.publish_after`."""
        if len(children) >= LARGEST_BATCH:
            message = f"a job can wait for at most {LARGEST_BATCH - 1} others"
            raise InvalidJobError(message)
        parent, *children = self._signals.addressed([parent, *children])
        store = self._store(parent.queue)
        reference = store.parent_reference(parent)
        await self._refuse_known(children, f"{reference['queueKey']}:{parent.id}")
        calls = [store.adding_parent(parent)]
        calls += [self._store(child.queue).adding(child, reference) for child in children]
        return [_added(answer) for answer in await self._commands.run_all(calls)]

    async def _refuse_known(self, children: Sequence[Job], parent: str) -> None:
        """See `JobQueue.publish_after`. BullMQ would wait for ever for one that is dead."""
        hashes = [self._store(child.queue).keys.job(child.id) for child in children]
        lines = [("HMGET", key, "name", "parentKey") for key in hashes]
        answers = await self._commands.execute_all(lines)
        for child, (name, known) in zip(children, answers, strict=True):
            if name is not None and known != parent:
                raise already_published(child.id)

    def consume(self, queue: str, concurrency: int, runner: JobRunner) -> Consumer:
        """See `JobEngine.consume`."""
        self._runners[queue] = runner
        store = self._store(queue)
        timeout = self._settings.queue_publish_timeout
        parts = ConsumerParts(
            store=store,
            watch=Watch(
                self._connect(),
                store.keys.base + "marker",
                timeout,
                self._multiplex(LONGEST_WAIT + timeout),
            ),
            connect=lambda: Commands(
                scripts.EVERY, self._connect(), timeout, self._multiplex(timeout)
            ),
            runner=runner,
            concurrency=concurrency,
            lock=self._settings.queue_lock,
            ended_channel=lambda job_id: self._signals.ended_channel(queue, job_id),
            advance=lambda taken: self._schedulers.advance(queue, taken.id, taken.fields),
            listen=lambda: self._signals.listen_for_cancels(self._tell_runner),
        )
        return BullmqConsumer(parts)

    def _tell_runner(self, queue: str, job_id: str) -> None:
        if runner := self._runners.get(queue):
            runner.cancel(queue, job_id)

    async def find(self, queue: str, job_id: str) -> JobRecord | None:
        """See `JobEngine.find`."""
        name, fields = await self._store(queue).look(job_id)
        state = STATES.get(name)
        if state is None or not fields:
            # Between two states for a moment: taken from one list, not yet in the next.
            return None
        return read_record(queue, job_id, state, fields)

    async def ended(self, queue: str, job_id: str, patience: float | None) -> JobRecord:
        """See `JobEngine.ended`."""
        return await wait_for_end(self._signals, self.find, (queue, job_id), patience)

    async def list_jobs(
        self, queue: str, state: JobState, *, offset: int = 0, limit: int = 100
    ) -> list[JobRecord]:
        """See `JobEngine.list_jobs`."""
        return await self._listing.jobs(queue, state, offset, limit)

    async def counts(self, queue: str) -> dict[JobState, int]:
        """See `JobEngine.counts`."""
        return await self._listing.counts(queue)

    async def queues(self) -> list[str]:
        """See `JobEngine.queues`."""
        return await self._listing.queues(self._redis)

    async def cancel(self, queue: str, job_id: str) -> bool:
        """See `JobEngine.cancel`."""
        store = self._store(queue)
        keys = store.keys(
            "wait", "paused", "prioritized", "delayed", "waiting-children", "active", "failed",
            job_id, "events",
        )  # fmt: skip
        channel = self._signals.ended_channel(queue, job_id)
        now = round(time.time() * 1000)
        arguments: list[Word] = [job_id, now, write_failure(CANCELLED), channel]
        if job_id.startswith("repeat:"):
            await self._let_schedule_go_on(store, job_id)
        answer = await self._commands.run(Call(scripts.CANCEL, keys, arguments))
        if answer == scripts.CANCEL_RUNNING:
            await self._commands.execute(
                "PUBLISH", self._signals.cancel_channel, f"{queue}:{job_id}"
            )
        return bool(answer)

    async def _let_schedule_go_on(self, store: Store, job_id: str) -> None:
        """Add the next job of a schedule: whoever takes this one does it, and nobody may."""
        _, fields = await store.look(job_id)
        if "rjk" in fields:
            with suppress(ValueError, TypeError, KeyError):  # it is no job of ours
                await self._schedulers.advance(store.queue, job_id, fields)

    async def replay(self, queue: str, job_id: str) -> bool:
        """See `JobEngine.replay`."""
        return await self._listing.replay(queue, job_id)

    async def purge(self, queue: str, state: JobState) -> int:
        """See `JobEngine.purge`."""
        return await self._listing.purge(queue, state)

    async def pause(self, queue: str) -> None:
        """See `JobEngine.pause`."""
        await self._listing.pause(queue, paused=True)

    async def resume(self, queue: str) -> None:
        """See `JobEngine.resume`."""
        await self._listing.pause(queue, paused=False)

    async def is_paused(self, queue: str) -> bool:
        """See `JobEngine.is_paused`."""
        return await self._listing.is_paused(queue)

    async def limit(self, limits: QueueLimits) -> None:
        """See `JobEngine.limit`. Workers in Node mind them as well."""
        await self._listing.limit(limits)

    async def put_schedule(self, schedule: Schedule, template: Job) -> None:
        """See `JobEngine.put_schedule`."""
        await self._schedulers.put(schedule, template)

    async def remove_schedule(self, queue: str, key: str) -> bool:
        """See `JobEngine.remove_schedule`."""
        return await self._schedulers.remove(queue, key)

    async def schedules(self, queue: str) -> list[ScheduleRecord]:
        """See `JobEngine.schedules`."""
        return await self._schedulers.list(queue)


def _added(answer: Any) -> str:
    """Return the id a script answers with; stock BullMQ's addBulk takes error codes for ids.

    Raises:
        InvalidJobError: the job it depends on is gone.
    """
    if isinstance(answer, int) and answer < 0:
        message = f"BullMQ refuses the job (code {answer}): the job it belongs to is gone"
        raise InvalidJobError(message)
    return str(answer)


def build(parts: EngineParts) -> BullmqEngine:
    """Return the engine."""
    return BullmqEngine(parts)
