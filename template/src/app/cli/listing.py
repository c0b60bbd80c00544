"""What `app modules` shows."""

from __future__ import annotations

import json

from fastapi.routing import APIRoute

from app.cli.groups import Declared, declared_groups
from app.core.discovery import discover
from app.core.module import Module


def additions(module: Module, groups: dict[str, list[Declared]]) -> dict[str, list[str]]:
    """Return what a module adds to the service, by kind; empty kinds are left out."""
    found = {
        "settings": [name.upper() for cls in module.settings_classes for name in cls.model_fields],
        "provides": sorted(
            {
                str(getattr(factory.provides.type_hint, "__name__", factory.provides.type_hint))
                for provider in module.providers
                for factory in provider.factories
            }
        ),
        "routes": [
            f"{method} {route.path}"
            for router in module.routers
            for route in router.routes
            if isinstance(route, APIRoute)
            for method in sorted(route.methods or ())
        ],
        "middleware": [spec.layer.name.lower() for spec in module.middleware],
        "health checks": [check.name for check in module.health_checks],
        "commands": [f"app {group.name}" for group in groups.get(module.name, ())],
        "contributes": [type(item).__name__ for item in module.contributes],
    }
    return {kind: names for kind, names in found.items() if names}


def _groups() -> dict[str, list[Declared]]:
    found: dict[str, list[Declared]] = {}
    for group in declared_groups():
        found.setdefault(group.target.split(".")[-2], []).append(group)
    return found


def as_json() -> str:
    """Return the modules as JSON."""
    groups = _groups()
    return json.dumps(
        [
            {
                "name": module.name,
                "summary": module.summary,
                "requires": list(module.requires),
                "adds": additions(module, groups),
            }
            for module in discover().modules
        ],
        indent=2,
    )


def as_table() -> str:
    """Return the modules as a table for people."""
    groups = _groups()
    rows = [("MODULE", "REQUIRES", "ADDS")]
    for module in discover().modules:
        added = additions(module, groups)
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in added.items())
        rows.append((module.name, ", ".join(module.requires) or "-", counts or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{name:<{widths[0]}}  {needs:<{widths[1]}}  {adds}" for name, needs, adds in rows]
    summaries = [f"{module.name}: {module.summary}" for module in discover().modules]
    return "\n".join([*lines, "", *summaries])
