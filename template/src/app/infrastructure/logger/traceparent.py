"""The `traceparent` header (W3C Trace Context, level 1)."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

_HEADER = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
VERSION = b"00"
INVALID_VERSION = b"ff"
NO_TRACE = b"0" * 32
NO_SPAN = b"0" * 16
SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class TraceParent:
    """What the caller says about the trace."""

    trace_id: str
    """32 hexadecimal digits."""
    parent_id: str
    """The caller's span: 16 hexadecimal digits."""
    sampled: bool
    """Whether the caller may have recorded its part."""


def parse_traceparent(header: bytes) -> TraceParent | None:
    """Return what a header says, None for one that is not valid (§3.2.2).

    A higher version may have more parts; the first four mean what they mean today (§4.3).
    """
    match = _HEADER.fullmatch(header.strip(b" \t"))
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if version == INVALID_VERSION or trace == NO_TRACE or span == NO_SPAN:
        return None
    if more and version == VERSION:
        return None
    return TraceParent(trace.decode(), span.decode(), sampled=bool(int(flags, 16) & SAMPLED))


def new_trace_id() -> str:
    """Return a random trace id."""
    # Unique is enough, nobody must be unable to guess it; `secrets` takes four times as long.
    return f"{random.getrandbits(128) or 1:032x}"


def new_span_id() -> str:
    """Return a random span id."""
    return f"{random.getrandbits(64) or 1:016x}"


def format_traceparent(trace_id: str, span_id: str, *, sampled: bool = True) -> str:
    """Return the header, in version 00."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"
