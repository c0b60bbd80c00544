"""Between our jobs and what BullMQ stores: a hash of strings whose `opts` field is JSON.

Fields that BullMQ does not know are ours, and Node leaves them alone: `own` in the options; in the
hash `first`, `last`, `reason`, `cancel` and `alone`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from app.infrastructure.queue.engine import Delivery, DeliveryHooks
from app.infrastructure.queue.jobs import DeadReason, Job, JobFailure, JobRecord, JobState
from app.infrastructure.queue.options import PRIORITIES, Backoff, BackoffKind, JobOptions
from app.infrastructure.queue.signals import REPLY_TO

STATES = {
    "waiting": JobState.WAITING,
    "prioritized": JobState.WAITING,
    "delayed": JobState.DELAYED,
    "waiting-children": JobState.BLOCKED,
    "active": JobState.ACTIVE,
    "completed": JobState.COMPLETED,
    "failed": JobState.DEAD,
}
"""BullMQ's names of states."""
Fields = Mapping[str, str]


def milliseconds(span: timedelta) -> int:
    """Return a span as BullMQ counts time."""
    return round(span / timedelta(milliseconds=1))


def timestamp(moment: datetime) -> int:
    """Return a moment as BullMQ counts time: ms since the epoch."""
    return int(moment.timestamp() * 1000)


def moment(value: str | float | None) -> datetime | None:
    """Return the moment of a timestamp, None if there is none."""
    try:
        return datetime.fromtimestamp(float(value) / 1000, UTC) if value else None
    except (ValueError, OverflowError, OSError):
        return None


def options_to_bullmq(job: Job) -> dict[str, Any]:
    """Return a job's options under BullMQ's names, as its scripts store them.

    A worker in Node honours attempts, backoff, jitter, delay, priority and deduplication.
    """
    # BullMQ's place for telemetry, a JSON text, holds the headers.
    headers = orjson.dumps(dict(job.headers)).decode()
    return {**_written(job.options), "jobId": job.id, "tm": headers}


@lru_cache(maxsize=1024)
def _written(options: JobOptions) -> Mapping[str, Any]:
    """Return what of the options is the same for every job that has them."""
    written: dict[str, Any] = {
        "attempts": options.attempts,
        "backoff": {
            "type": options.backoff.kind.value,
            "delay": milliseconds(options.backoff.first),
            "jitter": options.backoff.jitter,
        },
        "own": _own(options),
    }
    if options.delay:
        written["delay"] = milliseconds(options.delay)
    if options.priority:
        written["priority"] = options.priority
    if options.deduplication:
        window = options.deduplication.window
        ttl = {"ttl": milliseconds(window)} if window else {}
        written["de"] = {"id": options.deduplication.key, **ttl}
    return written


def _own(options: JobOptions) -> dict[str, int]:
    """Return what BullMQ has no name for. 0: no limit, since Lua drops what is nil."""
    return {
        "timeout": milliseconds(options.timeout) if options.timeout is not None else 0,
        "expires": milliseconds(options.expires_in) if options.expires_in is not None else 0,
        "longest": milliseconds(options.backoff.longest),
    }


def read_options(queue: str, written: Mapping[str, Any]) -> JobOptions:
    """Return the options of a stored job, also of one that Node added.

    Raises:
        InvalidJobError: they make no sense.
        TypeError: a value of another type than BullMQ writes.
        ValueError: a text that is no number.
    """
    own = written.get("own") or {}
    backoff = written.get("backoff")
    kind: str | None = None
    first, jitter = backoff, 0.0
    if isinstance(backoff, dict):
        kind, first = str(backoff.get("type")), backoff.get("delay")
        jitter = float(backoff.get("jitter") or 0)
    return _options(
        queue,
        _Numbers(
            delay=float(written.get("delay") or 0),
            priority=int(written.get("priority") or 0),
            attempts=int(written.get("attempts") or 1),
            first=float(first or 0),
            jitter=jitter,
            timeout=own.get("timeout"),
            expires=own.get("expires"),
            longest=own.get("longest"),
        ),
        kind,
    )


class _Numbers(NamedTuple):
    """What the options hold in numbers: ms where they are times."""

    delay: float
    priority: int
    attempts: int
    first: float
    jitter: float
    timeout: float | None
    expires: float | None
    longest: float | None


@lru_cache(maxsize=1024)
def _options(queue: str, numbers: _Numbers, backoff: str | None) -> JobOptions:
    """Return the options; a queue's jobs have few different ones, so they are made once."""
    return JobOptions(
        queue=queue,
        delay=timedelta(milliseconds=numbers.delay),
        priority=min(numbers.priority, PRIORITIES[-1]),
        attempts=max(numbers.attempts, 1),
        backoff=_backoff(numbers, backoff),
        timeout=_span(numbers.timeout, JobOptions().timeout),
        expires_in=_span(numbers.expires, None),
    )


def _span(value: float | None, default: timedelta | None) -> timedelta | None:
    if value is None:
        return default
    return timedelta(milliseconds=value) if value else None


def _backoff(numbers: _Numbers, kind: str | None) -> Backoff:
    """Return a backoff; in Node's short form it is a number, and without one there is no pause."""
    first = timedelta(milliseconds=numbers.first)
    if kind is None:
        return Backoff(kind=BackoffKind.FIXED, first=first, jitter=0)
    return Backoff(
        kind=BackoffKind(kind) if kind in set(BackoffKind) else BackoffKind.EXPONENTIAL,
        first=first,
        longest=_span(numbers.longest, None) or Backoff().longest,
        jitter=numbers.jitter,
    )


def read_job(queue: str, job_id: str, fields: Fields) -> Job:
    """Return the job a hash holds.

    Raises:
        ValueError: it holds none; the text says why.
    """
    missing = sorted({"name", "data", "opts"} - fields.keys())
    if missing:
        message = f"the job has no {', '.join(missing)}"
        raise ValueError(message)
    try:
        orjson.loads(fields["data"])
    except ValueError as error:
        message = f"the payload is no JSON: {error}"
        raise ValueError(message) from error
    try:
        written = orjson.loads(fields["opts"])
        options = read_options(queue, written)
        headers = orjson.loads(written.get("tm") or "{}")
        headers = {str(k): str(v) for k, v in headers.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        message = f"the options can't be read: {error}"
        raise ValueError(message) from error
    created = moment(fields.get("timestamp")) or datetime.now(UTC)
    if "rjk" in fields:
        # A schedule's job is added long before it is due: when is in its id. One that was replayed
        # is younger than that.
        created = max(created, moment(job_id.rpartition(":")[2]) or created)
    return Job(
        id=job_id,
        name=fields["name"],
        body=fields["data"],
        options=options,
        headers=headers,
        created_at=created,
    )


def reply_channel(fields: Fields) -> str:
    """Return the channel of the process that waits for a job, or nothing."""
    options = fields.get("opts", "")
    if REPLY_TO not in options:
        return ""
    try:
        return str(orjson.loads(orjson.loads(options)["tm"])[REPLY_TO])
    except (ValueError, TypeError, KeyError):
        return ""


def read_delivery(
    queue: str, job_id: str, fields: Fields, hooks: DeliveryHooks | None = None
) -> Delivery:
    """Return what a worker has to know about a job it has just taken."""
    job, problem = None, ""
    try:
        job = read_job(queue, job_id, fields)
    except ValueError as error:
        problem = str(error)
    return Delivery(
        id=job_id,
        queue=queue,
        job=job,
        problem=problem,
        starts=_number(fields.get("ats"), 1),
        failures=_number(fields.get("atm"), 0),
        crashes=_number(fields.get("stc"), 0),
        crashed_alone="alone" in fields,
        first_failure=read_failure(fields.get("first")),
        last_failure=read_failure(fields.get("last")),
        cancelled="cancel" in fields,
        blocked_by=fields.get("defa", ""),
        hooks=hooks,
    )


def _number(text: str | None, default: int) -> int:
    try:
        return int(text) if text else default
    except ValueError:
        return default


def write_failure(failure: JobFailure) -> str:
    """Return a failure as JSON text."""
    return json.dumps(asdict(failure), separators=(",", ":"))


def read_failure(text: str | None) -> JobFailure | None:
    """Return a stored failure, None if there is none that can be read."""
    try:
        return JobFailure(**json.loads(text)) if text else None
    except (ValueError, TypeError):
        return None


def read_record(queue: str, job_id: str, state: JobState, fields: Fields) -> JobRecord:
    """Return everything a hash says about a job, however odd it is."""
    delivery = read_delivery(queue, job_id, fields)
    last = delivery.last_failure
    if last is None and state is JobState.DEAD and "failedReason" in fields:
        # It died in Node.
        traces = _parsed(fields.get("stacktrace")) or [""]
        last = JobFailure(type="", message=fields["failedReason"], traceback=str(traces[-1]))
    reason = fields.get("reason")
    return JobRecord(
        id=job_id,
        queue=queue,
        state=state,
        name=fields.get("name", ""),
        body=fields.get("data", ""),
        headers=delivery.job.headers if delivery.job else {},
        attempts=delivery.job.options.attempts if delivery.job else 0,
        starts=_number(fields.get("ats"), 0),
        progress=_parsed(fields.get("progress")),
        result=_parsed(fields.get("returnvalue")),
        reason=(DeadReason(reason) if reason else DeadReason.ATTEMPTS)
        if state is JobState.DEAD
        else None,
        first_failure=delivery.first_failure or last,
        last_failure=last,
        created_at=moment(fields.get("timestamp")),
        started_at=moment(fields.get("processedOn")),
        ended_at=moment(fields.get("finishedOn")),
    )


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
