"""What travels with a job from the caller to the worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from loguru import logger

from app.infrastructure.logger import LogContext, current_context
from app.infrastructure.logger.context import enter, leave
from app.infrastructure.logger.traceparent import new_span_id, new_trace_id, parse_traceparent
from app.infrastructure.queue.jobs import Job

TRACEPARENT = "traceparent"
"""W3C Trace Context, level 1."""
USER = "user-id"
ROLE = "role"
TENANT = "tenant"
LOCALE = "locale"


def caller_headers(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the headers of a job published now: the caller's trace, user, tenant and locale."""
    context = current_context()
    found = {
        TRACEPARENT: context.traceparent,
        USER: context.user_id,
        ROLE: context.role,
        TENANT: context.tenant,
        LOCALE: context.locale,
    }
    return {**{name: value for name, value in found.items() if value}, **(more or {})}


@contextmanager
def job_log_context(job: Job) -> Iterator[None]:
    """Give every line written in the block the trace and user of the caller, and the job's id."""
    parent = parse_traceparent(job.headers.get(TRACEPARENT, "").encode("ascii", "replace"))
    context = LogContext(
        trace_id=parent.trace_id if parent else new_trace_id(),
        span_id=new_span_id(),
        user_id=job.headers.get(USER),
        role=job.headers.get(ROLE),
        tenant=job.headers.get(TENANT),
        locale=job.headers.get(LOCALE),
        work_id=job.id,
        sampled=parent.sampled if parent else True,
    )
    token = enter(context)
    try:
        with logger.contextualize(job_id=job.id, job_name=job.name):
            yield
    finally:
        leave(token)
