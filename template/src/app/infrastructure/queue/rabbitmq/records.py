"""The records of jobs in Redis: each method is one round trip."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.infrastructure.queue.engine import Completed, Dead, Retry, Verdict
from app.infrastructure.queue.errors import InvalidJobError
from app.infrastructure.queue.jobs import DeadReason, JobFailure, JobRecord, JobState
from app.infrastructure.queue.rabbitmq import scripts
from app.infrastructure.queue.rabbitmq.wire import (
    Arrival,
    Parcel,
    milliseconds,
    pairs,
    parcel_of_record,
    read_record,
    write_failure,
)
from app.infrastructure.queue.redis_scripts import Call, Commands, Word

BATCH = 500
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


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is to become of a job that ran."""

    id: str
    verdict: Verdict
    out: bool
    """Whether a message about it may come that this worker does not hold."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What Redis says to a message. `code` is one of those at the script."""

    code: str
    number: int = 0
    """How often it was started, or ms for which another worker holds it."""
    history: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether the queue lets more jobs start."""

    paused: bool
    wait: float
    """Seconds until it may be asked again; 0: nothing holds it up."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer to a settlement."""

    ours: bool
    """False: the job is another worker's by now, or nothing is known of it."""
    turn: int


@dataclass(frozen=True, slots=True)
class Step:
    """The answers to what a consumer asks in one round trip."""

    gate: Gate
    claims: Sequence[Claim]
    settled: Sequence[Settled]
    woken: Sequence[tuple[str, str]]
    """Queue and id of jobs that waited for those which have ended."""


def now_ms() -> int:
    """Return the time in ms since the epoch."""
    return round(time.time() * 1000)


class Records:
    """All queues of one service."""

    def __init__(self, commands: Commands, prefix: str, lock: float, retention: Retention) -> None:
        """Keep them.

        Args:
            commands: runs scripts.
            prefix: begins all keys; with a hash tag, so that they lie together in a cluster.
            lock: seconds a worker keeps its jobs without being heard of.
            retention: how long ended jobs are kept.
        """
        self._commands = commands
        self.root = f"{prefix}:rabbitmq:"
        self._queues = f"{self.root}queues"
        self._lock = round(lock * 1000)
        self._retention = retention

    def base(self, queue: str) -> str:
        """Return what begins the keys of a queue."""
        return f"{self.root}{queue}:"

    def _job(self, queue: str, job_id: str) -> str:
        return f"{self.base(queue)}j:{job_id}"

    async def add(self, additions: Sequence[Addition]) -> list[tuple[str, bool]]:
        """Record jobs, all or none.

        Returns:
            For each its id, or that of the job which holds its deduplication key; and whether a
            message has to be sent.
        """
        arguments: list[Word] = [now_ms()]
        keys = [self._queues]
        for addition in additions:
            parcel = addition.parcel
            keys.append(self.base(parcel.queue))
            arguments += [
                parcel.id, parcel.queue, parcel.name, parcel.body, parcel.options, parcel.headers,
                parcel.created, parcel.priority, parcel.turn, parcel.due, addition.deduplication,
                addition.window, addition.parent, addition.children, 0 if addition.sent else 1,
            ]  # fmt: skip
        answer = await self._commands.run(Call(scripts.ADD, keys, arguments))
        return [(str(i), bool(s)) for i, s in zip(answer[::2], answer[1::2], strict=True)]

    async def mark_sent(self, parcels: Sequence[Parcel]) -> None:
        """Take note that the broker has confirmed messages."""
        keys = [self.base(parcel.queue) for parcel in parcels]
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
        keys = [self.base(queue), self.root]
        now = now_ms()
        claim: list[Word] = [now, worker, self._lock]
        for arrival in arrivals:
            claim += (arrival.id, arrival.turn)
        claiming = Call(scripts.CLAIM, keys, claim)
        if not settlements:
            return _step(await self._commands.run(claiming), None)
        keep = self._retention
        settle: list[Word] = [
            now, worker, round(keep.results * 1000), keep.completed, round(keep.dead * 1000),
            channel,
        ]  # fmt: skip
        for settlement in settlements:
            settle += _written(settlement, now)
        settling = Call(scripts.SETTLE, keys, settle)
        answers = await self._commands.execute_all([settling.words, claiming.words])
        return _step(answers[1], answers[0])

    async def renew(self, commands: Commands, worker: str) -> None:
        """Let a worker keep its jobs for another while, over `commands`."""
        await commands.execute("SET", f"{self.root}w:{worker}", 1, "PX", self._lock)

    async def renew_now(self, worker: str) -> None:
        """Let a worker that begins keep what it takes."""
        await self.renew(self._commands, worker)

    async def resign(self, worker: str) -> None:
        """A worker has ended: what it left is anybody's at once."""
        await self._commands.execute("DEL", f"{self.root}w:{worker}")

    async def look_at_running(
        self, queue: str, worker: str, job_ids: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Return which jobs were cancelled, and which are no longer this worker's."""
        if not job_ids:
            return [], []
        lines = [("HMGET", self._job(queue, i), "cancel", "worker", "state") for i in job_ids]
        answers = await self._commands.execute_all(lines)
        cancelled, lost = [], []
        for job_id, (cancel, owner, state) in zip(job_ids, answers, strict=True):
            if state == JobState.ACTIVE and owner != worker:
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
        await self._commands.run(Call(scripts.PROGRESS, [self._job(queue, job_id)], [text]))

    async def children_results(self, queue: str, job_id: str) -> dict[str, Any]:
        """Return the results of the jobs one depends on, by id."""
        flat = await self._commands.execute("HGETALL", f"{self.base(queue)}k:{job_id}")
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
        key = self._job(queue, job_id)
        await self._commands.run(Call(scripts.NOTE, [key], [starts, field, value]))

    async def find(self, queue: str, job_id: str) -> JobRecord | None:
        """Return what is known of a job, or None."""
        fields = await self.fields(queue, job_id)
        return read_record(queue, job_id, fields) if "name" in fields else None

    async def fields(self, queue: str, job_id: str) -> dict[str, str]:
        """Return a record as it is stored."""
        return pairs(await self._commands.execute("HGETALL", self._job(queue, job_id)))

    async def list_jobs(
        self, queue: str, state: JobState, offset: int, limit: int
    ) -> list[JobRecord]:
        """Return jobs of a state as they will be taken; ended ones from the newest."""
        command = "ZREVRANGE" if state.has_ended else "ZRANGE"
        key = f"{self.base(queue)}{state}"
        ids = await self._commands.execute(command, key, offset, offset + limit - 1)
        found = await self._commands.execute_all([("HGETALL", self._job(queue, i)) for i in ids])
        return [
            read_record(queue, job_id, fields)
            for job_id, fields in zip(ids, map(pairs, found), strict=True)
            if fields
        ]

    async def counts(self, queue: str) -> dict[JobState, int]:
        """Return how many jobs there are of each state."""
        lines = [("ZCARD", f"{self.base(queue)}{state}") for state in JobState]
        answers = await self._commands.execute_all(lines)
        return {state: int(number) for state, number in zip(JobState, answers, strict=True)}

    async def queues(self) -> list[str]:
        """Return the names of all queues that were ever used."""
        return sorted(await self._commands.execute("SMEMBERS", self._queues))

    async def bury(
        self, queue: str, job_id: str, reason: DeadReason, failure: JobFailure, channel: str
    ) -> tuple[int, list[tuple[str, str]]]:
        """Let a job that waits be dead, or mark one that runs as cancelled: see the script."""
        arguments: list[Word] = [now_ms(), job_id, write_failure(failure), channel, reason.value]
        call = Call(scripts.BURY, [self.base(queue), self.root], arguments)
        code, woken = await self._commands.run(call)
        return int(code), _twos(woken)

    async def replay(self, queue: str, job_id: str) -> bool:
        """Make a dead job a waiting one; its message has to be sent."""
        call = Call(scripts.REPLAY, [self.base(queue)], [now_ms(), job_id])
        return bool(await self._commands.run(call))

    async def purge(self, queue: str, state: JobState) -> int:
        """Delete all jobs of a state.

        Raises:
            InvalidJobError: of active ones: their workers would not know.
        """
        if state is JobState.ACTIVE:
            message = "active jobs can't be purged: cancel them, or wait"
            raise InvalidJobError(message)
        out = "1" if state in {JobState.WAITING, JobState.DELAYED} else "0"
        removed = 0
        while True:
            call = Call(scripts.PURGE, [self.base(queue)], [state.value, BATCH, out])
            gone = int(await self._commands.run(call))
            removed += gone
            if gone < BATCH:
                return removed

    async def unsent(self, queue: str, older: float) -> list[Parcel]:
        """Return messages that may not have reached the broker for `older` seconds."""
        now = now_ms()
        call = Call(scripts.SWEEP, [self.base(queue)], [now, now - round(older * 1000)])
        answer = await self._commands.run(call)
        return [
            parcel_of_record(queue, job_id, pairs(fields))
            for job_id, fields in zip(answer[::2], answer[1::2], strict=True)
        ]

    async def set_meta(self, queue: str, values: Mapping[str, int | None]) -> None:
        """Set or remove what limits a queue."""
        meta = f"{self.base(queue)}meta"
        lines: list[tuple[str | int, ...]] = [("SADD", self._queues, queue)]
        lines += [
            ("HDEL", meta, name) if value is None else ("HSET", meta, name, value)
            for name, value in values.items()
        ]
        await self._commands.execute_all(lines)

    async def is_paused(self, queue: str) -> bool:
        """Tell whether a queue is paused."""
        return bool(await self._commands.execute("HEXISTS", f"{self.base(queue)}meta", "paused"))

    async def put_schedule(self, queue: str, key: str, definition: str, due: int) -> None:
        """Add or change a schedule; one that is there as it is defined goes on."""
        call = Call(
            scripts.PUT_SCHEDULE, [self.base(queue), self._queues], [queue, key, definition, due]
        )
        await self._commands.run(call)

    async def schedules(self, queue: str) -> list[tuple[str, int, str]]:
        """Return key, next moment in ms and definition of each schedule, the next one first."""
        base = self.base(queue)
        flat = await self._commands.execute("ZRANGE", f"{base}schedules", 0, -1, "WITHSCORES")
        due = {key: int(float(score)) for key, score in _twos(flat)}
        lines = [("HGET", f"{base}s:{key}", "definition") for key in due]
        found = await self._commands.execute_all(lines) if lines else []
        return [
            (key, moment, definition or "{}")
            for (key, moment), definition in zip(due.items(), found, strict=True)
        ]

    async def next_schedule(self, queue: str) -> int | None:
        """Return when a schedule of the queue fires next: ms since the epoch."""
        key = f"{self.base(queue)}schedules"
        flat = _twos(await self._commands.execute("ZRANGE", key, 0, 0, "WITHSCORES"))
        return int(float(flat[0][1])) if flat else None

    async def advance(self, queue: str, key: str, due: int, following: int) -> None:
        """Let a schedule that has fired fire again."""
        await self._commands.run(Call(scripts.ADVANCE, [self.base(queue)], [key, due, following]))

    async def remove_schedule(self, queue: str, key: str) -> bool:
        """Remove a schedule; False: there is none."""
        base = self.base(queue)
        lines = [("ZREM", f"{base}schedules", key), ("DEL", f"{base}s:{key}")]
        return bool((await self._commands.execute_all(lines))[0])

    async def check(self) -> None:
        """Ask Redis for an answer."""
        await self._commands.execute("PING")


def _written(settlement: Settlement, now: int) -> tuple[Word, ...]:
    """Return a settlement as the script takes it."""
    verdict, out = settlement.verdict, 1 if settlement.out else 0
    match verdict:
        case Completed():
            return "completed", settlement.id, verdict.result, "", 0, out
        case Dead():
            text = write_failure(verdict.failure)
            return "dead", settlement.id, text, verdict.reason.value, 0, out
        case Retry():
            pause = milliseconds(verdict.after)
            text = write_failure(verdict.failure)
            return "retry", settlement.id, text, "", now + pause if pause > 0 else 0, out
    return "back", settlement.id, "", "", 0, out


def _step(claimed: Sequence[Any], settled: Sequence[Any] | None) -> Step:
    claims = []
    for code, *rest in claimed[2:]:
        number = int(rest[0]) if rest else 0
        history = pairs(rest[1]) if len(rest) > 1 and rest[1] else None
        claims.append(Claim(str(code), number, history))
    return Step(
        gate=Gate(bool(claimed[0]), int(claimed[1]) / 1000),
        claims=claims,
        settled=[Settled(bool(ours), int(turn)) for ours, turn in settled[1:]] if settled else (),
        woken=_twos(settled[0]) if settled else (),
    )


def _twos(flat: Sequence[Any]) -> list[tuple[str, str]]:
    if flat and isinstance(flat[0], (list, tuple)):  # as RESP3 pairs them
        return [(str(a), str(b)) for a, b in flat]
    return [(str(a), str(b)) for a, b in zip(flat[::2], flat[1::2], strict=True)]
