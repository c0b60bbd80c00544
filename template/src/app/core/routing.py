"""Routes with a container scope per request, strict JSON and conditional answers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import NoneType
from typing import Any, get_type_hints

from dishka.integrations.fastapi import DishkaRoute
from fastapi import Request, Response

from app.core.conditional import NotModified, not_modified, revalidated
from app.core.container import WorkScope
from app.core.json_body import StrictRequest


class ScopedRoute(DishkaRoute):
    """A route whose request scope closes *before* the answer leaves.

    So a unit of work that can't be committed becomes an error answer; a middleware that closes the
    scope around the whole response would have sent the 200 already. An exception of the handler
    reaches the scope's finalizers, which roll back. Use it as
    `APIRouter(route_class=ScopedRoute)` and take dependencies as `FromDishka[Service]`.
    A streamed body runs after the scope: hold no session in it. A client that has the answer
    already is told so (`app.core.conditional`).
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Resolve the endpoint's annotations where its names are known.

        dishka wraps the endpoint, and FastAPI would look for the names of postponed annotations
        (PEP 563) in the wrapper's module.
        """
        hints = get_type_hints(endpoint, include_extras=True)
        # FastAPI knows "answers nothing" as None, not as its type.
        endpoint.__annotations__ = {k: None if v is NoneType else v for k, v in hints.items()}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler in a request scope."""
        handle = super().get_route_handler()

        async def in_scope(plain: Request) -> Response:
            request = StrictRequest(plain.scope, plain.receive)
            async with WorkScope(request.app.state.dishka_container, {Request: request}) as scope:
                request.state.dishka_container = scope
                try:
                    return revalidated(request, await handle(request))
                except NotModified as found:
                    return not_modified(found.answer)

        return in_scope
