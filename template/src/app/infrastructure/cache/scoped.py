"""Makes a call again when its caller is gone: on an object of a new scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from dishka import AsyncContainer

from app.core.container import WorkScope
from app.core.discovery import Registry

Again = Callable[[], Awaitable[Any]]


class Scopes:
    """Knows which classes the container provides."""

    def __init__(self, container: AsyncContainer, registry: Registry) -> None:
        """Ask this container."""
        self._container = container
        self._kinds = {
            factory.provides.type_hint
            for module in registry.modules
            for provider in module.providers
            for factory in provider.factories
        }

    def again(
        self, function: Callable[..., Awaitable[Any]], args: Any, kwargs: Mapping[str, Any]
    ) -> Again | None:
        """Return what calls a method once more; None: nobody knows how to make its object.

        The caller's own object is no good: a service of a request holds its session, and after the
        request that is closed.
        """
        kind = type(args[0])
        if kind not in self._kinds:
            return None

        async def call() -> Any:
            async with WorkScope(self._container) as scope:
                return await function(await scope.get(kind), *args[1:], **kwargs)

        return call
