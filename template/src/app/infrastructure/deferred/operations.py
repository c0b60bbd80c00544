"""What `app deferred list` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator

from app.core.deferring import CallableLater
from app.core.discovery import discover
from app.infrastructure.deferred.catalog import Catalog
from app.infrastructure.deferred.methods import Method

NOTHING = "Nothing is deferrable: list a class in its module, `contributes=(Deferrable(X),)`"


def _catalog() -> Catalog:
    return Catalog(discover().contributions(CallableLater))


def as_text() -> str:
    """Return the deferrable classes, a line for each method."""
    return "\n".join(_lines()) or NOTHING


def _lines() -> Iterator[str]:
    for item in _catalog():
        also = f" (also {', '.join(item.aliases)})" if item.aliases else ""
        yield f"{item.wire_name}{also}"
        for method in item.methods:
            yield f"  {_shown(method)}" + (f"  # no: {method.problem}" if method.problem else "")


def _shown(method: Method) -> str:
    return f"{'async ' if method.is_async else ''}{method.name}{method.signature}"


def as_json() -> str:
    """Return the deferrable classes as JSON."""
    return json.dumps(
        [
            {
                "name": item.wire_name,
                "aliases": list(item.aliases),
                "class": f"{item.provider.__module__}.{item.provider.__qualname__}",
                "methods": [
                    {
                        "name": method.name,
                        "signature": str(method.signature),
                        "aliases": list(method.declared.aliases),
                        "problem": method.problem or None,
                    }
                    for method in item.methods
                ],
            }
            for item in _catalog()
        ],
        indent=2,
    )
