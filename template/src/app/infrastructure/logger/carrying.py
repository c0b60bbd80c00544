"""Take the context along with a message, and make it current where the message is handled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from app.infrastructure.logger.context import LogContext, current_context, enter, leave
from app.infrastructure.logger.traceparent import new_span_id, new_trace_id, parse_traceparent

TRACEPARENT = "traceparent"
"""W3C Trace Context, level 1; also an extension attribute of CloudEvents."""
USER = "userid"
ROLE = "role"
TENANT = "tenant"
LOCALE = "locale"


def context_headers() -> dict[str, str]:
    """Return what of the present context travels: trace, user, role, tenant and locale."""
    context = current_context()
    found = {
        TRACEPARENT: context.traceparent,
        USER: context.user_id,
        ROLE: context.role,
        TENANT: context.tenant,
        LOCALE: context.locale,
    }
    return {name: value for name, value in found.items() if value}


@contextmanager
def context_of(headers: Mapping[str, str]) -> Iterator[LogContext]:
    """Give every line written in the block the trace and user of the sender."""
    parent = parse_traceparent(headers.get(TRACEPARENT, "").encode("ascii", "replace"))
    context = LogContext(
        trace_id=parent.trace_id if parent else new_trace_id(),
        span_id=new_span_id(),
        user_id=headers.get(USER),
        role=headers.get(ROLE),
        tenant=headers.get(TENANT),
        locale=headers.get(LOCALE),
        sampled=parent.sampled if parent else True,
    )
    token = enter(context)
    try:
        yield context
    finally:
        leave(token)
