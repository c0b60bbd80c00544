"""Jobs: publish now, do later, lose none. One port, whichever engine keeps them."""

from app.infrastructure.queue.context import JobContext
from app.infrastructure.queue.engine import QueueLimits
from app.infrastructure.queue.errors import (
    InvalidJobError,
    JobCancelledError,
    JobFailedError,
    JobTimeoutError,
    QueueError,
    QueueUnavailableError,
    RejectJobError,
    RetryJobError,
    UnknownJobError,
)
from app.infrastructure.queue.events import JobEvent, Observer
from app.infrastructure.queue.handle import JobHandle
from app.infrastructure.queue.handlers import HandlerSource, JobHandler, job
from app.infrastructure.queue.jobs import DeadReason, Job, JobFailure, JobRecord, JobState
from app.infrastructure.queue.options import Backoff, BackoffKind, Deduplication, JobOptions
from app.infrastructure.queue.queue import JobQueue
from app.infrastructure.queue.schedules import Schedule

__all__ = [
    "Backoff",
    "BackoffKind",
    "DeadReason",
    "Deduplication",
    "HandlerSource",
    "InvalidJobError",
    "Job",
    "JobCancelledError",
    "JobContext",
    "JobEvent",
    "JobFailedError",
    "JobFailure",
    "JobHandle",
    "JobHandler",
    "JobOptions",
    "JobQueue",
    "JobRecord",
    "JobState",
    "JobTimeoutError",
    "Observer",
    "QueueError",
    "QueueLimits",
    "QueueUnavailableError",
    "RejectJobError",
    "RetryJobError",
    "Schedule",
    "UnknownJobError",
    "job",
]
