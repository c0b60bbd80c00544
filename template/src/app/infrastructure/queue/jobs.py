"""What a job is, what became of it, and why it is dead."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from app.infrastructure.queue.options import JobOptions

LONGEST_MESSAGE = 2_000
LONGEST_TRACEBACK = 20_000
"""Characters kept of an error; the rest is cut from the middle."""


class JobState(StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    """A worker takes it as soon as one is free."""
    DELAYED = "delayed"
    """Its time has not come: a delay, or the pause before the next attempt."""
    BLOCKED = "blocked"
    """It waits for the jobs it depends on."""
    ACTIVE = "active"
    """A worker is on it."""
    COMPLETED = "completed"
    """Done; its result can be read for a while."""
    DEAD = "dead"
    """Given up: kept for a look and for replay."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in {JobState.COMPLETED, JobState.DEAD}


class DeadReason(StrEnum):
    """Why a job was given up."""

    ATTEMPTS = "attempts"
    """Its last attempt failed."""
    REJECTED = "rejected"
    """The handler said that another attempt can't help, or its result can't be written as JSON."""
    INVALID = "invalid"
    """The payload is not what the handler declares."""
    UNDECODABLE = "undecodable"
    """What was in the broker is not a job. The bytes are kept."""
    UNKNOWN = "unknown"
    """No handler has its name."""
    STALLED = "stalled"
    """Its worker died or hung, as often as it may be started."""
    EXPIRED = "expired"
    """Not started before it expired."""
    CHILD = "child"
    """A job it depends on is dead."""
    CANCELLED = "cancelled"
    """Somebody cancelled it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One unit of work."""

    id: str
    """Made by who publishes it, so that publishing twice adds it once."""
    name: str
    """Which handler does it."""
    body: str
    """The payload as JSON text."""
    options: JobOptions = field(default_factory=JobOptions)
    headers: Mapping[str, str] = field(default_factory=dict)
    """The caller's context: `traceparent`, `user-id`, and what else is to travel."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def queue(self) -> str:
        """The queue it is in."""
        return self.options.queue

    @property
    def payload(self) -> Any:
        """The parsed payload."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """An error of an attempt, as it is kept: text only, no class is rebuilt from it."""

    type: str
    """Name of the class."""
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> JobFailure:
        """Describe an error."""
        try:
            message = str(error)
        except Exception as second:  # noqa: BLE001 - a class of the user's; the job must still end
            message = f"(its text can't be had: {type(second).__name__})"
        lines = "".join(traceback.format_exception(error))
        return cls(
            type=type(error).__name__,
            message=_cut(message, LONGEST_MESSAGE),
            traceback=_cut(lines, LONGEST_TRACEBACK),
        )

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.type}: {self.message}" if self.message else self.type


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as the queue knows it."""

    id: str
    queue: str
    state: JobState
    name: str = ""
    body: str = ""
    """What is in the broker: JSON text, or whatever somebody put there."""
    headers: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0
    """How often it may be started."""
    starts: int = 0
    """How often it was started."""
    progress: Any = None
    result: Any = None
    reason: DeadReason | None = None
    first_failure: JobFailure | None = None
    last_failure: JobFailure | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def trace_id(self) -> str | None:
        """The trace of whoever published it."""
        parts = self.headers.get("traceparent", "").split("-")
        return parts[1] if len(parts) == 4 else None  # noqa: PLR2004 - W3C: version-trace-span-flags


def _cut(text: str, limit: int) -> str:
    # Half a surrogate pair can't be stored anywhere, and errors quote whatever they met.
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - limit} characters …\n{text[-half:]}"
