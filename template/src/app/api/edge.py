"""The one middleware of the API itself: limits, security headers, and the last word on errors.

Three concerns in one pass: every further ASGI layer costs each request as much as they do together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import itemgetter

from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitResponder
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.handlers import answer_to, internal_error, log_unhandled
from app.api.problems import render_error
from app.core.errors import BadRequestError, ContentTooLargeError, ServiceUnavailableError

Headers = Sequence[tuple[bytes, bytes]]

BODILESS_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})
name_of = itemgetter(0)


class StoppedError(ServiceUnavailableError):
    """The service stopped before the request was done."""


class Edge:
    """Sits right inside the observing layer, so that all it answers is traced and logged."""

    def __init__(
        self, app: ASGIApp, *, headers: Headers, max_size: int, stopping: asyncio.Event
    ) -> None:
        """Prepare what is the same for every request.

        Args:
            app: the next application.
            headers: added to every answer, unless a route has set one of that name itself.
            max_size: of a request body in bytes.
            stopping: set when the server cancels what it can't wait for any longer.
        """
        self._app = app
        self._headers = tuple(headers)
        self._names = frozenset(name for name, _ in headers)
        self._max_size = max_size
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = self._complete(message.get("headers", ()))
            await send(message)

        try:
            if "\0" in scope["path"] or b"%00" in scope["query_string"]:
                # No text column of PostgreSQL can hold it, and nobody means it.
                reason = "The address contains the character U+0000."
                raise BadRequestError(reason)  # noqa: TRY301 - answered below like any other
            app = _BodyLimit(self._app, self._max_size) if _may_have_body(scope) else self._app
            await app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            # Raised further it would be an error in the server's log, and a bare 500.
            response = render_error(scope, StoppedError())
        except Exception as error:  # noqa: BLE001 - nothing may leave without an answer
            response = _answer(scope, error, started=started)
        else:
            return
        if not started:
            await response(scope, receive, send_with_headers)
        # Too late for an answer: the server sees that it is incomplete and hangs up.

    def _complete(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        if self._names.isdisjoint(map(name_of, headers)):
            return [*headers, *self._headers]
        present = set(map(name_of, headers))
        return [*headers, *(item for item in self._headers if item[0] not in present)]


def _answer(scope: Scope, error: Exception, *, started: bool) -> Response:
    """Return the answer; log what nobody foresaw, and what can't be answered any more."""
    response = None if started else answer_to(scope, error)
    if response is None:
        log_unhandled(scope, error)
    return response or internal_error(scope)


def _may_have_body(scope: Scope) -> bool:
    return (
        scope["method"] not in BODILESS_METHODS
        or not scope["http_version"].startswith("1")  # HTTP/2 frames need no such header
        or not BODY_HEADERS.isdisjoint(map(name_of, scope["headers"]))
    )


class _BodyLimit(RequestBodyLimitResponder):
    """Starlette's counter, which a route raises or lowers with `max_body_size=`; our answer."""

    def __init__(self, app: ASGIApp, max_body_size: int) -> None:
        async def translated(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await app(scope, receive, send)
            except HTTPException as error:
                if error.status_code != ContentTooLargeError.status:
                    raise
                raise ContentTooLargeError from error

        super().__init__(translated, max_body_size)

    async def send_with_limit(self, message: Message) -> None:
        """Pass on: an answer given without reading a large body is as good as any."""
        await self.send(message)
