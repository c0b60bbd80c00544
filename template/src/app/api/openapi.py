"""The OpenAPI document: problems on every operation, readable operation ids, tags from modules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from app.api.problems import Problem
from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.problems import PROBLEM_JSON, PROBLEM_SCHEMA

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")


def operation_id(route: APIRoute) -> str:
    """Return the name of the route's function: `list_users` reads well in generated clients."""
    return route.name


def refuse_duplicate_operations(routes: Iterable[BaseRoute]) -> None:
    """Check that no two operations share an id.

    Raises:
        ConfigurationError: names both paths.
    """
    seen: dict[str, str] = {}
    for context in iter_route_contexts(list(routes)):
        route = context.original_route if hasattr(context, "original_route") else context
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        other = seen.setdefault(route.name, str(context.path))
        if other != context.path:
            message = (
                f"Two operations are called {route.name!r}: {other} and {context.path}. Rename the "
                "function of one: the name is the operation id in the OpenAPI document"
            )
            raise ConfigurationError(message)


def tags(registry: Registry) -> list[dict[str, str]]:
    """Return a tag for each module with routes."""
    return [
        {"name": module.name, "description": module.summary}
        for module in registry.modules
        if module.routers
    ]


def document_problems(schema: dict[str, Any]) -> None:
    """Replace the framework's own error schemas by `Problem`, on every operation."""
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for path in schema.get("paths", {}).values():
        for method, operation in path.items():
            if method in METHODS:
                _document(operation)


def _document(operation: dict[str, Any]) -> None:
    responses = operation.setdefault("responses", {})
    if operation.get("parameters") or operation.get("requestBody"):
        responses["422"] = _problem("A value in the request is not acceptable.")
    if operation.get("requestBody"):
        responses.setdefault("413", _problem("The request body is too large."))
    responses.setdefault("default", _problem("Any other error."))


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_JSON: {"schema": PROBLEM_SCHEMA}}}
