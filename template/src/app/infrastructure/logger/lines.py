"""Make a record safe: the fields of a line, without secrets, without what could forge another."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pydantic import SecretBytes, SecretStr

from app.infrastructure.logger.context import LogContext, current_context
from app.infrastructure.logger.redaction import (
    MASK,
    clean_text,
    clean_word,
    is_secret_key,
    one_line,
    redact,
)

Line = dict[str, Any]

BASE = ("timestamp", "level", "logger", "message", "exception")
PASSED_ON = {"sampled", "locale", "work_id"}
"""Part of the context, but on no line."""
CONTEXT = tuple(field.name for field in fields(LogContext) if field.name not in PASSED_ON)
RESERVED = frozenset((*BASE, *CONTEXT))
"""What is bound under one of these names gets an underscore after it: nobody forges a user."""
DEEPEST = 6
"""Levels of nested values that are looked into; what lies deeper is left out."""
LONGEST_WORD = 256
"""Characters of a text that is worth remembering."""
LARGEST_INTEGER = 2**63
"""Beyond it neither orjson nor most readers of JSON keep the value."""


def make_line(
    created: float, level: str, logger: str, message: str, extra: Mapping[str, Any]
) -> Line:
    """Return the fields of a line, flat, in the order they are shown.

    Args:
        created: seconds since the epoch.
        level: its name.
        logger: name of the module that logs.
        message: as the code wrote it.
        extra: what was bound.
    """
    line: Line = {
        "timestamp": timestamp(created),
        "level": level,
        "logger": clean_word(logger),
        "message": clean_text(message),
    }
    add_context(line, current_context())
    for key, value in extra.items():
        name = clean_word(str(key))
        line[f"{name}_" if name in RESERVED else name] = clean(name, value)
    return line


def timestamp(created: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC, with milliseconds."""
    second = int(created)
    return f"{_second(second)}.{int((created - second) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[: -len("+00:00")]


def add_context(line: Line, context: LogContext) -> None:
    """Add who and what the line belongs to."""
    for name in CONTEXT:
        value = getattr(context, name)
        if value is None:
            continue
        # Identifiers are never the same twice: not worth remembering, and mostly safe as they are.
        line[name] = value if value.isascii() and value.isalnum() else _clean_str(value)


def clean(key: str, value: Any, depth: int = 0) -> Any:
    """Return a value that may be logged under `key`, as JSON knows values."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (SecretStr, SecretBytes)) or (key and is_secret_key(key)):
        return MASK
    if isinstance(value, str):
        return _clean_str(str(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value) if abs(value) < LARGEST_INTEGER else str(int(value))
    return _clean_other(value, depth)


def _clean_str(text: str) -> str:
    return clean_word(text) if len(text) <= LONGEST_WORD else clean_text(text)


def _clean_other(value: Any, depth: int) -> Any:
    if depth >= DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {clean_text(str(k)): clean(str(k), v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean("", item, depth + 1) for item in value]
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - whatever it is, it must not cost the line
        text = f"<{type(value).__name__} that can't be shown>"
    return clean_text(text)


def exception_text(kind: Any, value: Any, trace: Any) -> str:
    """Return the traceback with secrets masked; it never shows variables."""
    text = redact("".join(traceback.format_exception(kind, value, trace)).rstrip())
    return "\n".join(map(one_line, text.split("\n")))
