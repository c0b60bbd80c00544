"""What happens to jobs, told to whoever wants to know: the log here, metrics and streams elsewhere.

Events are told in the process where they happen: `JobQueued` where it is published, the others in
the worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from loguru import logger

from app.infrastructure.queue.jobs import DeadReason, JobFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """Something happened to a job."""

    id: str
    name: str
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQueued(JobEvent):
    """It was published, and is durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted(JobEvent):
    """An attempt begins."""

    attempt: int
    waited: float
    """Seconds since it was published, a delay included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgressed(JobEvent):
    """Its handler said how far it is."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCompleted(JobEvent):
    """It is done."""

    attempt: int
    duration: float
    """Seconds the attempt took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRetried(JobEvent):
    """An attempt failed; another one follows."""

    attempt: int
    duration: float
    failure: JobFailure
    after: float
    """Seconds until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDied(JobEvent):
    """It was given up: `reason` says why, cancelled and expired jobs included."""

    attempt: int
    reason: DeadReason
    failure: JobFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStalled(JobEvent):
    """Its worker vanished; it is started again, alone, to find the culprit."""

    crashes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobGivenBack(JobEvent):
    """Its worker stopped before it was done; another one starts it."""

    attempt: int


class JobObserver(Protocol):
    """Is told of every event. A module contributes it as `Observer(...)`."""

    def __call__(self, event: JobEvent, /) -> None:
        """Take note, quickly: the worker waits. What it raises is logged, and harms no job."""
        ...


@dataclass(frozen=True, slots=True)
class Observer:
    """What a module contributes to be told of events."""

    observe: JobObserver


class Events:
    """Tells every observer."""

    def __init__(self, observers: Iterable[JobObserver]) -> None:
        """Know whom to tell."""
        self._observers = (log_event, *observers)

    def tell(self, event: JobEvent) -> None:
        """Tell all of them, whatever one of them does."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # noqa: BLE001 - an observer must not harm a job
                logger.exception("An observer of jobs failed on {}", type(event).__name__)


def log_event(event: JobEvent) -> None:
    """Write one line about an event, in the context of whoever published the job."""
    match event:
        case JobCompleted():
            took = event.duration * 1000
            logger.info("Job {} {} completed in {:.1f} ms", event.name, event.id, took)
        case JobRetried():
            logger.warning(
                "Job {} {} failed at attempt {}, again in {:.1f} s: {}",
                *(event.name, event.id, event.attempt, event.after, event.failure),
            )
        case JobDied(reason=DeadReason.CANCELLED | DeadReason.EXPIRED):
            logger.info("Job {} {} {}", event.name, event.id, event.reason)
        case JobDied():
            logger.error(
                "Job {} {} is dead ({}) after attempt {}: {}",
                *(event.name, event.id, event.reason, event.attempt, event.failure),
            )
        case JobStalled():
            template = "Job {} {} lost its worker {} times, starting it alone"
            logger.warning(template, event.name, event.id, event.crashes)
        case JobGivenBack():
            logger.warning("Job {} {} was given back unfinished", event.name, event.id)
        case _:
            logger.debug("Job {} {}: {}", event.name, event.id, type(event).__name__)
