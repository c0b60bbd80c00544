"""The `traceparent` header (W3C Trace Context, level 1)."""

from __future__ import annotations

import re
import secrets

_HEADER = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
VERSION = b"00"
INVALID_VERSION = b"ff"
NO_TRACE = b"0" * 32
NO_SPAN = b"0" * 16


def parse_traceparent(header: bytes) -> str | None:
    """Return the trace id of a header, None for one that is not valid (§3.2.2).

    A higher version may have more parts; the first four mean what they mean today (§4.3).
    """
    match = _HEADER.fullmatch(header.strip())
    if match is None:
        return None
    version, trace, span, _, more = match.groups()
    if version == INVALID_VERSION or trace == NO_TRACE or span == NO_SPAN:
        return None
    if more and version == VERSION:
        return None
    return trace.decode()


def new_trace_id() -> str:
    """Return a random trace id."""
    return secrets.token_hex(16)


def new_span_id() -> str:
    """Return a random span id."""
    return secrets.token_hex(8)


def format_traceparent(trace_id: str, span_id: str) -> str:
    """Return the header, marked as sampled."""
    return f"00-{trace_id}-{span_id}-01"
