"""What answers when a layer of observing itself has failed."""

from __future__ import annotations

import contextlib

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.handlers import internal_error


class LastResort:
    """The outermost layer. The server logs what passes here, and closes the connection.

    It does not watch whether an answer has begun, which would cost every request: the server
    refuses a second one.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Guard an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        try:
            await self._app(scope, receive, send)
        except Exception:
            if scope["type"] == "http":
                with contextlib.suppress(Exception):
                    await internal_error(scope)(scope, receive, send)
            raise
