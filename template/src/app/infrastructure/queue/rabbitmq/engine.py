"""The engine as the port knows it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from redis.asyncio import Redis

from app.infrastructure.queue.engine import Consumer, JobRunner, QueueLimits
from app.infrastructure.queue.errors import InvalidJobError, QueueUnavailableError
from app.infrastructure.queue.jobs import DeadReason, Job, JobFailure, JobRecord, JobState
from app.infrastructure.queue.ports import EngineParts
from app.infrastructure.queue.rabbitmq import scripts, upkeep_scripts
from app.infrastructure.queue.rabbitmq.consumer import RabbitmqConsumer
from app.infrastructure.queue.rabbitmq.keys import Keys
from app.infrastructure.queue.rabbitmq.line import Line
from app.infrastructure.queue.rabbitmq.listing import Listing
from app.infrastructure.queue.rabbitmq.parts import ConsumerParts
from app.infrastructure.queue.rabbitmq.publisher import Publisher
from app.infrastructure.queue.rabbitmq.records import Addition, Records, Retention
from app.infrastructure.queue.rabbitmq.schedulers import Schedulers
from app.infrastructure.queue.rabbitmq.settings import RabbitmqSettings
from app.infrastructure.queue.rabbitmq.wire import Parcel, milliseconds, parcel_of_record
from app.infrastructure.queue.redis_scripts import Commands
from app.infrastructure.queue.schedules import Schedule, ScheduleRecord
from app.infrastructure.queue.signals import Signals
from app.infrastructure.queue.waiting import wait_for_end

LARGEST_BATCH = 500
"""Jobs recorded in one step: Redis serves nobody else meanwhile."""
CANCEL_RUNNING = 2
CANCELLED = JobFailure(type="Cancelled", message="cancelled before it was started")


class RabbitmqEngine:
    """See `JobEngine`."""

    def __init__(self, parts: EngineParts) -> None:
        """Prepare; nothing is connected yet."""
        self._settings = parts.settings
        self._own = parts.all_settings.get(RabbitmqSettings)
        self._connect = parts.connect
        self._multiplex = parts.multiplex
        self._keys = parts.keys
        self._redis: Redis = parts.connect()
        self._timeout = parts.settings.queue_publish_timeout
        self._commands = self._new_commands(self._redis)
        self._signals = Signals(self._redis, parts.keys)
        retention = Retention(
            results=parts.settings.queue_keep_results,
            completed=parts.settings.queue_keep_completed,
            dead=parts.settings.queue_keep_dead,
        )
        # A hash tag: in a cluster the keys of all queues lie together, as the scripts need it.
        keys = Keys.of(f"{{{parts.keys.prefix}}}")
        self._records = Records(self._commands, keys, parts.settings.queue_lock, retention)
        self._listing = Listing(self._commands, keys)
        self._schedulers = Schedulers(self._commands, keys, lambda job: self._add([_addition(job)]))
        self._namespace = parts.keys.prefix
        self._publisher = Publisher(
            self._line("publisher"), self._records, self._namespace, self._own.rabbitmq_group_size
        )
        self._runners: dict[str, JobRunner] = {}

    def _new_commands(self, redis: Redis) -> Commands:
        every = (*scripts.EVERY, *upkeep_scripts.EVERY)
        return Commands(every, redis, self._timeout, self._multiplex(self._timeout))

    def _line(self, role: str) -> Line:
        return Line(self._own.urls, f"{self._keys.prefix} {role}", self._timeout)

    async def start(self) -> None:
        """See `JobEngine.start`."""
        await self._commands.load()
        await self._publisher.start()

    async def stop(self) -> None:
        """See `JobEngine.stop`."""
        await self._publisher.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await self._signals.stop()
        with suppress(QueueUnavailableError):
            await self._commands.close()

    async def check(self) -> None:
        """See `JobEngine.check`."""
        await self._records.check()
        await self._publisher.start()

    async def publish(self, jobs: Sequence[Job]) -> list[str]:
        """See `JobEngine.publish`. More than 500 are recorded in several steps."""
        ids: list[str] = []
        jobs = self._signals.addressed(jobs)
        for begin in range(0, len(jobs), LARGEST_BATCH):
            ids += await self._add([_addition(job) for job in jobs[begin : begin + LARGEST_BATCH]])
        return ids

    async def publish_after(self, parent: Job, children: Sequence[Job]) -> list[str]:
        """See `JobEngine.publish_after`. The parent lies in Redis alone until they are done."""
        if len(children) >= LARGEST_BATCH:
            message = f"a job can wait for at most {LARGEST_BATCH - 1} others"
            raise InvalidJobError(message)
        parent, *children = self._signals.addressed([parent, *children])
        additions = [Addition(parcel=Parcel.of(parent), children=len(children))]
        reference = f"{parent.queue}:{parent.id}"
        additions += [replace(_addition(child), parent=reference) for child in children]
        return await self._add(additions)

    async def _add(self, additions: Sequence[Addition]) -> list[str]:
        """Record jobs, then send their messages.

        Whoever fails in between leaves them noted as unsent: a worker sends them.
        """
        for wanted in {(a.parcel.queue, a.parcel.priority) for a in additions}:
            await self._publisher.ready(*wanted)
        answers = await self._records.add(additions)
        parcels = [
            replace(addition.parcel, turn=turn)
            for addition, (_, turn) in zip(additions, answers, strict=True)
            if turn
        ]
        if parcels:
            await self._publisher.send(parcels)
        return [job_id for job_id, _ in answers]

    async def _resend(self, queue: str, job_id: str) -> None:
        """Send the message of a recorded job."""
        fields = await self._records.fields(queue, job_id)
        if "name" in fields:
            await self._publisher.send([parcel_of_record(queue, job_id, fields)])

    def consume(self, queue: str, concurrency: int, runner: JobRunner) -> Consumer:
        """See `JobEngine.consume`."""
        self._runners[queue] = runner
        parts = ConsumerParts(
            queue=queue,
            namespace=self._namespace,
            group=self._own.rabbitmq_group_size,
            line=self._line(f"worker {queue}"),
            records=self._records,
            publisher=self._publisher,
            connect=lambda: self._new_commands(self._connect()),
            runner=runner,
            concurrency=concurrency,
            lock=self._settings.queue_lock,
            ended_channel=self._signals.ended_channel(queue, ""),
            listen=lambda: self._signals.listen_for_cancels(self._tell_runner),
            resend=self._resend,
            tick=lambda: self._schedulers.tick(queue),
        )
        return RabbitmqConsumer(parts)

    def _tell_runner(self, queue: str, job_id: str) -> None:
        if runner := self._runners.get(queue):
            runner.cancel(queue, job_id)

    async def find(self, queue: str, job_id: str) -> JobRecord | None:
        """See `JobEngine.find`."""
        return await self._records.find(queue, job_id)

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
        return await self._listing.queues()

    async def cancel(self, queue: str, job_id: str) -> bool:
        """See `JobEngine.cancel`."""
        channel = self._signals.ended_channel(queue, "")
        code, woken = await self._records.bury(
            queue, job_id, DeadReason.CANCELLED, CANCELLED, channel
        )
        if code == CANCEL_RUNNING:
            await self._commands.execute(
                "PUBLISH", self._signals.cancel_channel, f"{queue}:{job_id}"
            )
        for other in woken:
            await self._resend(*other)
        return bool(code)

    async def replay(self, queue: str, job_id: str) -> bool:
        """See `JobEngine.replay`."""
        if not await self._listing.replay(queue, job_id):
            return False
        await self._resend(queue, job_id)
        return True

    async def purge(self, queue: str, state: JobState) -> int:
        """See `JobEngine.purge`. Messages that are out find no job, and go."""
        removed, orphaned = await self._listing.purge(queue, state)
        for other in orphaned:
            await self._resend(*other)
        return removed

    async def pause(self, queue: str) -> None:
        """See `JobEngine.pause`."""
        await self._listing.set_meta(queue, {"paused": 1})

    async def resume(self, queue: str) -> None:
        """See `JobEngine.resume`."""
        await self._listing.set_meta(queue, {"paused": None})

    async def is_paused(self, queue: str) -> bool:
        """See `JobEngine.is_paused`."""
        return await self._listing.is_paused(queue)

    async def limit(self, limits: QueueLimits) -> None:
        """See `JobEngine.limit`."""
        per = milliseconds(limits.per) if limits.rate else None
        values = {"concurrency": limits.concurrency, "rate": limits.rate, "per": per}
        await self._listing.set_meta(limits.queue, values)

    async def put_schedule(self, schedule: Schedule, template: Job) -> None:
        """See `JobEngine.put_schedule`."""
        await self._schedulers.put(schedule, template)

    async def remove_schedule(self, queue: str, key: str) -> bool:
        """See `JobEngine.remove_schedule`."""
        return await self._schedulers.remove(queue, key)

    async def schedules(self, queue: str) -> list[ScheduleRecord]:
        """See `JobEngine.schedules`."""
        return await self._schedulers.list(queue)


def _addition(job: Job) -> Addition:
    deduplication = job.options.deduplication
    window = deduplication.window if deduplication else None
    return Addition(
        parcel=Parcel.of(job),
        deduplication=deduplication.key if deduplication else "",
        window=milliseconds(window) if window else 0,
    )


def build(parts: EngineParts) -> RabbitmqEngine:
    """Return the engine."""
    return RabbitmqEngine(parts)
