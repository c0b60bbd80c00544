"""What the /jobs routes answer with."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from app.infrastructure.queue.jobs import DeadReason, JobState


def writable(text: str) -> str:
    """Return a text that UTF-8 can express: bytes that are none came as halves of surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


Text = Annotated[str, BeforeValidator(writable)]


class FromRecord(BaseModel):
    """Read from the objects of the queue."""

    model_config = ConfigDict(from_attributes=True)


class FailureRead(FromRecord):
    """An error of an attempt."""

    type: Text
    message: Text
    traceback: Text


class JobRead(FromRecord):
    """A job."""

    id: Text
    queue: str
    name: Text
    state: JobState
    body: Text
    """The payload as it lies in the broker."""
    headers: dict[Text, Text]
    attempts: int
    starts: int
    progress: Any = None
    result: Any = None
    reason: DeadReason | None = None
    first_failure: FailureRead | None = None
    last_failure: FailureRead | None = None
    trace_id: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class QueueRead(FromRecord):
    """A queue at a glance."""

    queue: str
    paused: bool
    counts: dict[JobState, int]


class ScheduleRead(FromRecord):
    """A schedule."""

    key: str
    queue: str
    job: str
    cron: str | None = None
    timezone: str | None = None
    every: timedelta | None = None
    next_at: datetime | None = None


class Changed(BaseModel):
    """How many jobs were changed."""

    count: int
