"""The problem document (RFC 9457) as modules see it: its media type and how to document it."""

from __future__ import annotations

from typing import Any

from app.core.errors import AppError

PROBLEM_JSON = "application/problem+json"
PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}
"""The API adds that schema to the OpenAPI document."""


def problem_responses(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """Return what documents these errors: `@router.get(..., responses=problem_responses(...))`.

    Errors of one status share an entry. What any operation may answer (400, 413, 422 and `default`)
    is documented without it.
    """
    documented: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        entry = documented.setdefault(
            int(error.status), {"content": {PROBLEM_JSON: {"schema": PROBLEM_SCHEMA}}}
        )
        described = [*entry.get("description", "").split(" · "), error.default_detail()]
        entry["description"] = " · ".join(filter(None, described))
    return documented
