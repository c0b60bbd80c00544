"""The records of jobs in Redis: each method is one round trip."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.infrastructure.queue.handle import already_published
from app.infrastructure.queue.jobs import DeadReason, JobFailure, JobRecord
from app.infrastructure.queue.rabbitmq import scripts, upkeep_scripts
from app.infrastructure.queue.rabbitmq.keys import Keys
from app.infrastructure.queue.rabbitmq.steps import Settlement, Step, read_step, write_settlement
from app.infrastructure.queue.rabbitmq.wire import (
    Arrival,
    Parcel,
    now_ms,
    pairs,
    parcel_of_record,
    read_record,
    twos,
    write_failure,
)
from app.infrastructure.queue.redis_scripts import Call, Commands, Word

NO_WINDOW = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long ended jobs are kept."""

    results: float
    """Seconds."""
    completed: int
    """At most so many completed jobs."""
    dead: float
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A job to be recorded."""

    parcel: Parcel
    deduplication: str = ""
    window: int = NO_WINDOW
    """Ms; 0: until the job has ended."""
    parent: str = ""
    """`queue:id` of the job that waits for it."""
    children: int = 0
    """How many jobs it waits for."""
    sent: bool = False
    """Whether its message is in the broker already."""


class Records:
    """All queues of one service."""

    def __init__(self, commands: Commands, keys: Keys, lock: float, retention: Retention) -> None:
        """Keep them.

        Args:
            commands: runs scripts.
            keys: under which they lie.
            lock: seconds a worker keeps its jobs without being heard of.
            retention: how long ended jobs are kept.
        """
        self._commands = commands
        self._keys = keys
        self._lock = round(lock * 1000)
        self._retention = retention

    async def add(self, additions: Sequence[Addition]) -> list[tuple[str, int]]:
        """Record jobs, all or none.

        Returns:
            For each its id, or that of the job which holds its deduplication key; and the turn of
            the message that has to be sent, 0 if none has to be.

        Raises:
            InvalidJobError: a child was published before, with another parent or none.
        """
        arguments: list[Word] = [now_ms()]
        keys = [self._keys.queues]
        for addition in additions:
            parcel = addition.parcel
            keys.append(self._keys.base(parcel.queue))
            arguments += [
                parcel.id, parcel.queue, parcel.name, parcel.body, parcel.options, parcel.headers,
                parcel.created, parcel.priority, parcel.turn, parcel.due, addition.deduplication,
                addition.window, addition.parent, addition.children, 0 if addition.sent else 1,
            ]  # fmt: skip
        answer = await self._commands.run(Call(scripts.ADD, keys, arguments))
        if not answer[0]:
            raise already_published(str(answer[1]))
        return [(str(i), int(turn)) for i, turn in zip(answer[::2], answer[1::2], strict=True)]

    async def mark_sent(self, parcels: Sequence[Parcel]) -> None:
        """Take note that the broker has confirmed messages."""
        keys = [self._keys.base(parcel.queue) for parcel in parcels]
        arguments = [word for parcel in parcels for word in (parcel.id, parcel.turn)]
        await self._commands.run(Call(scripts.SENT, keys, arguments))

    async def step(
        self,
        queue: str,
        worker: str,
        channel: str,
        arrivals: Sequence[Arrival],
        settlements: Sequence[Settlement],
    ) -> Step:
        """Settle jobs that ran, and claim others, in one round trip.

        Args:
            queue: its name.
            worker: who asks.
            channel: begins the channel on which ends are told.
            arrivals: messages whose jobs could be started now; none: only the gate is asked.
            settlements: what became of others.
        """
        keys = [self._keys.base(queue), self._keys.root]
        now = now_ms()
        claim: list[Word] = [now, worker, self._lock]
        for arrival in arrivals:
            claim += (arrival.id, arrival.turn)
        claiming = Call(scripts.CLAIM, keys, claim)
        if not settlements:
            return read_step(await self._commands.run(claiming), None)
        keep = self._retention
        settle: list[Word] = [
            now, worker, round(keep.results * 1000), keep.completed, round(keep.dead * 1000),
            channel,
        ]  # fmt: skip
        for settlement in settlements:
            settle += write_settlement(settlement, now)
        settling = Call(scripts.SETTLE, keys, settle)
        answers = await self._commands.execute_all([settling.words, claiming.words])
        return read_step(answers[1], answers[0])

    async def renew(self, commands: Commands, worker: str) -> None:
        """Let a worker keep its jobs for another while, over `commands`."""
        await commands.execute("SET", self._keys.worker(worker), 1, "PX", self._lock)

    async def renew_now(self, worker: str) -> None:
        """Let a worker that begins keep what it takes."""
        await self.renew(self._commands, worker)

    async def resign(self, worker: str) -> None:
        """A worker has ended: what it left is anybody's at once."""
        await self._commands.execute("DEL", self._keys.worker(worker))

    async def look_at_running(
        self, queue: str, worker: str, job_ids: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Return which jobs were cancelled, and which are no longer this worker's."""
        if not job_ids:
            return [], []
        lines = [("HMGET", self._keys.job(queue, i), "cancel", "worker") for i in job_ids]
        answers = await self._commands.execute_all(lines)
        cancelled, lost = [], []
        for job_id, (cancel, owner) in zip(job_ids, answers, strict=True):
            if owner != worker:
                lost.append(job_id)
            elif cancel:
                cancelled.append(job_id)
        return cancelled, lost

    async def park(self, queue: str, job_id: str) -> None:
        """Keep that a message about a job is on its way."""
        await self._note(queue, job_id, starts=0, field="parked")

    async def progress(self, queue: str, job_id: str, value: Any) -> None:
        """Keep how far a job is."""
        text = json.dumps(value, separators=(",", ":"))
        await self._commands.run(Call(scripts.PROGRESS, [self._keys.job(queue, job_id)], [text]))

    async def children_results(self, queue: str, job_id: str) -> dict[str, Any]:
        """Return the results of the jobs one depends on, by id."""
        flat = await self._commands.execute("HGETALL", f"{self._keys.base(queue)}k:{job_id}")
        return {key: json.loads(value) for key, value in pairs(flat).items()}

    async def set_aside(self, queue: str, job_id: str) -> None:
        """Keep that a job was taken and not started: it waits to run alone."""
        await self._note(queue, job_id, starts=-1, field="alone", value="")

    async def mark_alone(self, queue: str, job_id: str) -> None:
        """Keep that a job is started with nothing beside it."""
        await self._note(queue, job_id, starts=1, field="alone")

    async def _note(
        self, queue: str, job_id: str, *, starts: int, field: str, value: str = "1"
    ) -> None:
        """Change a record, if it is there: half of one would be taken for a job."""
        key = self._keys.job(queue, job_id)
        await self._commands.run(Call(scripts.NOTE, [key], [starts, field, value]))

    async def find(self, queue: str, job_id: str) -> JobRecord | None:
        """Return what is known of a job, or None."""
        fields = await self.fields(queue, job_id)
        return read_record(queue, job_id, fields) if "name" in fields else None

    async def fields(self, queue: str, job_id: str) -> dict[str, str]:
        """Return a record as it is stored."""
        return pairs(await self._commands.execute("HGETALL", self._keys.job(queue, job_id)))

    async def bury(
        self, queue: str, job_id: str, reason: DeadReason, failure: JobFailure, channel: str
    ) -> tuple[int, list[tuple[str, str]]]:
        """Let a job that waits be dead, or mark one that runs as cancelled: see the script."""
        arguments: list[Word] = [now_ms(), job_id, write_failure(failure), channel, reason.value]
        call = Call(upkeep_scripts.BURY, [self._keys.base(queue), self._keys.root], arguments)
        code, woken = await self._commands.run(call)
        return int(code), twos(woken)

    async def reclaim(self, queue: str) -> list[str]:
        """Take jobs from workers that are dead; return their ids."""
        call = Call(upkeep_scripts.RECLAIM, [self._keys.base(queue), self._keys.root], [now_ms()])
        return [str(job_id) for job_id in await self._commands.run(call)]

    async def unsent(self, queue: str, older: float) -> list[Parcel]:
        """Return messages that may not have reached the broker for `older` seconds."""
        now = now_ms()
        call = Call(
            upkeep_scripts.SWEEP, [self._keys.base(queue)], [now, now - round(older * 1000)]
        )
        answer = await self._commands.run(call)
        return [
            parcel_of_record(queue, job_id, pairs(fields))
            for job_id, fields in zip(answer[::2], answer[1::2], strict=True)
        ]

    async def check(self) -> None:
        """Ask Redis for an answer."""
        await self._commands.execute("PING")
