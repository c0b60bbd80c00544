"""Between our jobs, the messages that carry them, and their records in Redis.

A message is an ordinary AMQP one, so that anybody may publish jobs: the body is the payload as
JSON, `message_id` the job's id, `type` its name. The header `job` holds the rest as JSON, and may
be left out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from app.infrastructure.queue.engine import Delivery, DeliveryHooks
from app.infrastructure.queue.errors import InvalidJobError
from app.infrastructure.queue.jobs import DeadReason, Job, JobFailure, JobRecord, JobState
from app.infrastructure.queue.options import Backoff, BackoffKind, Deduplication, JobOptions
from app.infrastructure.queue.rabbitmq.frames import Content

HEADER = "job"
LONGEST_ID = 250
LONGEST_NAME = 255
"""Bytes. AMQP takes no longer ones; read with replacements they may have become longer."""
Fields = Mapping[str, str]


def milliseconds(span: timedelta) -> int:
    """Return a span in ms."""
    return round(span / timedelta(milliseconds=1))


def now_ms() -> int:
    """Return the time in ms since the epoch."""
    return round(time.time() * 1000)


def timestamp(moment: datetime) -> int:
    """Return a moment in ms since the epoch."""
    return round(moment.timestamp() * 1000)


def moment(value: str | float | None) -> datetime | None:
    """Return the moment of a timestamp, None if there is none."""
    try:
        return datetime.fromtimestamp(float(value) / 1000, UTC) if value else None
    except (ValueError, OverflowError, OSError):
        return None


@lru_cache(maxsize=1024)
def write_options(options: JobOptions) -> str:
    """Return options as JSON text; times in ms, 0 where there is no limit."""
    backoff, deduplication = options.backoff, options.deduplication
    written: dict[str, Any] = {
        "priority": options.priority,
        "attempts": options.attempts,
        "backoff": {
            "kind": backoff.kind.value,
            "first": milliseconds(backoff.first),
            "longest": milliseconds(backoff.longest),
            "jitter": backoff.jitter,
        },
        "timeout": milliseconds(options.timeout) if options.timeout is not None else 0,
        "expires": milliseconds(options.expires_in) if options.expires_in is not None else 0,
    }
    if options.delay:
        written["delay"] = milliseconds(options.delay)
    if deduplication:
        window = deduplication.window
        written["deduplication"] = [deduplication.key, milliseconds(window) if window else 0]
    return orjson.dumps(written).decode()


@lru_cache(maxsize=1024)
def read_options(queue: str, text: str) -> JobOptions:
    """Return options that were written as JSON text.

    Raises:
        ValueError: they make no sense.
    """
    try:
        return _options(queue, orjson.loads(text or "{}"))
    except (TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        message = f"the options can't be read: {error}"
        raise ValueError(message) from error


def _options(queue: str, written: Mapping[str, Any]) -> JobOptions:
    default = JobOptions()
    backoff = written.get("backoff") or {}
    deduplication = written.get("deduplication")
    return JobOptions(
        queue=queue,
        delay=timedelta(milliseconds=float(written.get("delay", 0))),
        priority=int(written.get("priority", default.priority)),
        attempts=int(written.get("attempts", default.attempts)),
        backoff=Backoff(
            kind=BackoffKind(backoff.get("kind", default.backoff.kind)),
            first=_span(backoff.get("first"), default.backoff.first) or timedelta(),
            longest=_span(backoff.get("longest"), default.backoff.longest) or timedelta(),
            jitter=float(backoff.get("jitter", default.backoff.jitter)),
        ),
        timeout=_span(written.get("timeout"), default.timeout),
        expires_in=_span(written.get("expires"), None),
        deduplication=Deduplication(key=str(deduplication[0]), window=_span(deduplication[1], None))
        if deduplication
        else None,
    )


def _span(value: float | None, default: timedelta | None) -> timedelta | None:
    if value is None:
        return default
    return timedelta(milliseconds=float(value)) if value else None


@dataclass(frozen=True, slots=True)
class Parcel:
    """A job on its way into the broker."""

    id: str
    queue: str
    name: str
    body: str
    options: str
    headers: str
    """Both as JSON text."""
    created: int
    """Ms since the epoch."""
    priority: int = 0
    turn: int = 1
    """Counts the messages of a job: each that follows makes those before it void."""
    due: int = 0
    """Ms since the epoch; 0: at once."""

    @classmethod
    def of(cls, job: Job) -> Parcel:
        """Pack a new job."""
        created, delay = timestamp(job.created_at), milliseconds(job.options.delay)
        return cls(
            id=job.id,
            queue=job.queue,
            name=job.name,
            body=job.body,
            options=write_options(job.options),
            headers=orjson.dumps(dict(job.headers)).decode(),
            created=created,
            priority=job.options.priority,
            due=created + 1 + delay if delay else 0,  # `created` was cut to whole ms
        )

    def content(self) -> Content:
        """Return its message; the header is the text of the one called `job`."""
        said = (
            f'{{"turn":{self.turn},"due":{self.due},"created":{self.created},'
            f'"options":{self.options},"headers":{self.headers}}}'
        )
        body = self.body.encode("utf-8", "surrogateescape")
        return Content(self.id, self.name, said.encode("utf-8", "surrogateescape"), body)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as it came from the broker."""

    id: str
    job: Job | None
    """None: it is no job; `problem` says why."""
    problem: str
    turn: int
    due: int
    body: bytes


LARGEST_TURN = 2**31
LARGEST_MOMENT = 2**53
"""Beyond them Redis can't count."""


def read_message(queue: str, content: Content) -> Arrival:
    """Read a message, whoever wrote it; nothing in it raises."""
    body = content.body
    job_id = content.message_id if isinstance(content.message_id, str) else ""
    known = job_id if is_id(job_id) else ""
    turn = 1
    try:
        said = _said(content)
        told, due = int(said.get("turn", 1)), int(said.get("due", 0))
        if not (0 <= told < LARGEST_TURN and 0 <= due < LARGEST_MOMENT):
            message = "its turn or its moment can't be"
            raise ValueError(message)  # noqa: TRY301 - told as the others are
        turn = told  # also of what is no job: replayed, it is not at its first any more
        job = _job(queue, job_id, content.message_type, said, body)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        return Arrival(known, None, str(error), turn, 0, body)
    return Arrival(known, job, "", turn, due, body)


def _job(queue: str, job_id: str, name: object, said: Mapping[str, Any], body: bytes) -> Job:
    """Return the job of a message.

    Raises:
        ValueError: it holds none.
    """
    if not is_id(job_id):
        message = f"message_id is no id of a job: {job_id[:100]!r}"
        raise ValueError(message)
    if not isinstance(name, str) or not 0 < len(name.encode("utf-8", "replace")) <= LONGEST_NAME:
        message = "the message has no type, or a longer one than can be: it names the handler"
        raise ValueError(message)
    orjson.loads(body)
    headers = said.get("headers") or {}
    return Job(
        id=job_id,
        name=name,
        body=body.decode(),
        options=read_options(queue, orjson.dumps(said.get("options") or {}).decode()),
        headers={str(key): str(value) for key, value in headers.items()},
        created_at=moment(said.get("created")) or datetime.now(UTC),
    )


def is_id(text: str) -> bool:
    """Tell whether a text can be the id of a job; wider than what may be published here."""
    return text.isprintable() and 0 < len(text.encode()) <= LONGEST_ID


def _said(content: Content) -> dict[str, Any]:
    text = (content.headers or {}).get(HEADER)
    if text is None:
        return {}
    said = orjson.loads(text if isinstance(text, (str, bytes)) else str(text))
    if not isinstance(said, dict):
        message = f"the header {HEADER!r} is no JSON object"
        raise ValueError(message)  # noqa: TRY004 - as for all that can't be read
    return said


def pairs(flat: Any) -> dict[str, str]:
    """Return a hash as Redis answers with it: flat, or already a mapping."""
    if isinstance(flat, Mapping):
        return dict(flat)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def twos(flat: Sequence[Any]) -> list[tuple[str, str]]:
    """Return what Redis answers with in twos, whether it pairs them or not."""
    if flat and isinstance(flat[0], (list, tuple)):  # as RESP3 pairs them
        return [(str(a), str(b)) for a, b in flat]
    return [(str(a), str(b)) for a, b in zip(flat[::2], flat[1::2], strict=True)]


def read_job(queue: str, job_id: str, fields: Fields) -> Job:
    """Return the job of a record.

    Raises:
        ValueError: it holds none; the text says why.
    """
    try:
        return Job(
            id=job_id,
            name=fields["name"],
            body=fields["body"],
            options=read_options(queue, fields.get("options", "{}")),
            headers=json.loads(fields.get("headers") or "{}"),
            created_at=moment(fields.get("created")) or datetime.now(UTC),
        )
    except (KeyError, InvalidJobError) as error:
        message = f"the record is not whole: {error}"
        raise ValueError(message) from error


def parcel_of_record(queue: str, job_id: str, fields: Fields) -> Parcel:
    """Pack a job again, from its record."""
    return Parcel(
        id=job_id,
        queue=queue,
        name=fields.get("name", ""),
        body=fields.get("body", ""),
        options=fields.get("options") or "{}",
        headers=fields.get("headers") or "{}",
        created=int(fields.get("created") or 0),
        priority=int(fields.get("priority") or 0),
        turn=int(fields.get("turn") or 1),
        due=int(fields.get("due") or 0),
    )


def delivery_of(
    arrival: Arrival, queue: str, history: Fields, starts: int, hooks: DeliveryHooks
) -> Delivery:
    """Return what a worker has to know about a job it starts."""
    if not history:
        return Delivery(
            id=arrival.id,
            queue=queue,
            job=arrival.job,
            problem=arrival.problem,
            starts=starts,
            hooks=hooks,
        )
    return Delivery(
        id=arrival.id,
        queue=queue,
        job=arrival.job,
        problem=arrival.problem,
        starts=starts,
        failures=_number(history.get("failures")),
        crashes=_number(history.get("crashes")),
        crashed_alone="alone" in history,
        first_failure=read_failure(history.get("first")),
        last_failure=read_failure(history.get("last")),
        cancelled="cancel" in history,
        blocked_by=history.get("blocked_by", ""),
        hooks=hooks,
    )


def _number(text: str | None) -> int:
    try:
        return int(text) if text else 0
    except ValueError:
        return 0


def write_failure(failure: JobFailure) -> str:
    """Return a failure as JSON text."""
    return json.dumps(asdict(failure), separators=(",", ":"))


def read_failure(text: str | None) -> JobFailure | None:
    """Return a stored failure, None if there is none that can be read."""
    try:
        return JobFailure(**json.loads(text)) if text else None
    except (ValueError, TypeError):
        return None


def read_record(queue: str, job_id: str, fields: Fields) -> JobRecord:
    """Return everything a record says about a job."""
    state = JobState(fields.get("state", JobState.WAITING))
    try:
        headers = json.loads(fields.get("headers") or "{}")
        attempts = read_options(queue, fields.get("options", "{}")).attempts
    except ValueError:
        headers, attempts = {}, 0
    last = read_failure(fields.get("last"))
    return JobRecord(
        id=job_id,
        queue=queue,
        state=state,
        name=fields.get("name", ""),
        body=fields.get("body", ""),
        headers=headers,
        attempts=attempts,
        starts=_number(fields.get("starts")),
        progress=_parsed(fields.get("progress")),
        result=_parsed(fields.get("result")),
        reason=DeadReason(fields["reason"]) if state is JobState.DEAD else None,
        first_failure=read_failure(fields.get("first")) or last,
        last_failure=last,
        created_at=moment(fields.get("created")),
        started_at=moment(fields.get("started")),
        ended_at=moment(fields.get("ended")),
    )


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
