"""Which operation answers a request, known before it is routed.

So limits hold for every route whether it knows of them or not, the key is the whole path template,
and a request that is refused costs nothing but its count. FastAPI keeps nested routers as a tree
and tells a middleware nothing of what it will match; this walks the tree once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Host, Mount, compile_path
from starlette.types import Scope

from app.infrastructure.rate_limiter.limits import Limit, unlimited

UNMATCHED = "<unmatched>"
"""What no route answers: the client's inventions share one counter."""
PARAMETER = re.compile(r"\{\w+(?P<kind>:\w+)?\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """A route as limits see it."""

    name: str
    """Methods and path template, all prefixes included: `GET /users/{user_id}`."""
    path_format: str
    """The path template alone, under the name the log looks for."""
    limits: tuple[Limit, ...] = ()
    """Declared by it and by the routers around it."""
    free: bool = False
    """Whether it is left out of the default limit."""


@dataclass(frozen=True, slots=True)
class _Entry:
    pattern: re.Pattern[str]
    methods: frozenset[str]
    """None of them: all."""
    operation: Operation


class RouteTable:
    """The operations of an application in the order in which they are tried."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        """Read them."""
        self._entries = list(_entries(routes))
        self._unmatched = Operation(UNMATCHED, UNMATCHED)

    def __iter__(self) -> Iterator[Operation]:
        """Iterate over the operations."""
        return (entry.operation for entry in self._entries)

    def find(self, scope: Scope) -> Operation:
        """Return what answers a request: the first that fits, else the first but for its method."""
        path, method = _path(scope), scope["method"]
        partial: Operation | None = None
        for entry in self._entries:
            if entry.pattern.match(path):
                if not entry.methods or method in entry.methods:
                    return entry.operation
                partial = partial or entry.operation
        return partial or self._unmatched


def _path(scope: Scope) -> str:
    """Return the path below where a proxy or server has put the application (ASGI root_path)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    below = root and (path == root or path.startswith(f"{root}/"))
    return path[len(root) :] if below else path


def _entries(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[_Entry]:
    for context in iter_route_contexts(routes):
        found: Any = context
        path = getattr(found, "path", None)
        app = getattr(found.original_route, "app", None)
        if isinstance(found.original_route, Mount) and path is not None:
            whole = prefix + path.rstrip("/")
            yield from _entries(getattr(app, "routes", None) or (), whole)
            yield _entry(f"{whole}/{{path:path}}", frozenset(), Operation(f"{whole}/*", whole))
        elif isinstance(found.original_route, Host):
            continue  # by host name, not by path: under the unmatched
        elif path is not None and (methods := getattr(found, "methods", None)):
            whole = prefix + path
            shown = f"{'|'.join(sorted(methods))} {prefix}{found.path_format}"
            calls = list(_calls(getattr(found, "dependant", None)))
            limits = tuple(dict.fromkeys(call for call in calls if isinstance(call, Limit)))
            operation = Operation(shown, prefix + found.path_format, limits, unlimited in calls)
            yield _entry(whole, frozenset(methods), operation)


def _entry(path: str, methods: frozenset[str], operation: Operation) -> _Entry:
    # Parameters of a mount and of what is in it may have the same name.
    numbers = count()
    numbered = PARAMETER.sub(lambda found: f"{{p{next(numbers)}{found['kind'] or ''}}}", path)
    return _Entry(compile_path(numbered)[0], methods, operation)


def _calls(dependant: Any) -> Iterable[Any]:
    """Yield the functions of all dependencies.

    Were they kept in another way, a limit would be counted when FastAPI calls it.
    """
    for inner in getattr(dependant, "dependencies", ()):
        yield inner.call
        yield from _calls(inner)
