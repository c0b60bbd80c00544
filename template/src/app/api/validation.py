"""Describe what is wrong with a request without repeating what was in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

MOST_ERRORS = 50
"""A body with a million wrong items must not make an answer of a million lines."""
SHORTEST_ECHO = 3
"""Characters: shorter inputs occur in messages by chance."""


def describe(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the `errors` member of the problem document from pydantic's list of errors."""
    return [_describe(error) for error in islice(errors, MOST_ERRORS)]


def _describe(error: Mapping[str, Any]) -> dict[str, str]:
    location, *path = error["loc"]
    context = error.get("ctx", {})
    if error["type"] == "json_invalid":
        # The rest of the location is an offset into the text, no path.
        return _entry(location, [], "json_invalid", f"Not valid JSON: {context.get('error', '')}")
    detail = error["msg"]
    for echo in (error.get("input"), context.get("tag")):
        if isinstance(echo, str) and len(echo) >= SHORTEST_ECHO:
            detail = detail.replace(echo, "…")
    return _entry(location, path, error["type"], detail)


def _entry(location: object, path: list[object], code: str, detail: str) -> dict[str, str]:
    return {"location": str(location), "pointer": _pointer(path), "code": code, "detail": detail}


def _pointer(path: Iterable[object]) -> str:
    """Write a JSON pointer (RFC 6901 §3)."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
