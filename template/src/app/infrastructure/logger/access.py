"""One line per request, and the trace every other line of it carries."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from loguru import logger
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.infrastructure.logger.context import LogContext, enter, leave
from app.infrastructure.logger.proxies import ClientAddress
from app.infrastructure.logger.traceparent import (
    format_traceparent,
    new_span_id,
    new_trace_id,
    parse_traceparent,
)

UNMATCHED = "<unmatched>"
"""Route of a request no route answers: its path is the client's invention."""
QUIET_PATHS = "/health"
"""Asked every few seconds by orchestrators: logged at DEBUG."""
SERVER_ERROR = 500
LONGEST_AGENT = 300
"""Characters of the user agent that are kept."""


class RequestLog:
    """Opens the context of a request, returns its trace, and logs how it ended."""

    def __init__(self, app: ASGIApp, addresses: ClientAddress) -> None:
        """Sit outside of everything that may log or answer."""
        self._app = app
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        context = self._open(scope)
        answer = format_traceparent(str(context.trace_id), str(context.span_id)).encode()
        status = SERVER_ERROR

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"traceparent", answer)]
            await send(message)

        token = enter(context)
        try:
            await self._app(scope, receive, send_traced)
        finally:
            if scope["type"] == "http":
                _log(scope, status, (perf_counter() - started) * 1000)
            leave(token)

    def _open(self, scope: Scope) -> LogContext:
        trace = agent = forwarded = None
        for name, value in scope["headers"]:
            if name == b"traceparent":
                trace = parse_traceparent(value)
            elif name == b"user-agent":
                agent = value[:LONGEST_AGENT].decode("latin-1")
            elif name == b"x-forwarded-for":
                text = value.decode("latin-1")
                forwarded = f"{forwarded},{text}" if forwarded else text
        peer = scope["client"][0] if scope.get("client") else None
        return LogContext(
            trace_id=trace or new_trace_id(),
            span_id=new_span_id(),
            client_address=self._addresses.resolve(peer, forwarded) if peer else None,
            user_agent=agent,
        )


def route_template(scope: Scope) -> str:
    """Return the path of the route as declared, all prefixes included.

    FastAPI keeps nested routers as a tree; the whole path is in a context of its own, which is not
    public. Without it: the route's own part.
    """
    private = scope.get("fastapi")
    effective = private.get("effective_route_context") if isinstance(private, dict) else None
    path = getattr(effective, "path_format", None)
    if path is None:
        path = getattr(scope.get("route"), "path_format", None)
    return path if isinstance(path, str) else UNMATCHED


def _log(scope: Scope, status: int, duration_ms: float) -> None:
    method: str = scope["method"]
    route = route_template(scope)
    if status >= SERVER_ERROR:
        # The cause has been logged as an error; counting it twice would mislead.
        level = "WARNING"
    else:
        level = "DEBUG" if scope["path"].startswith(QUIET_PATHS) else "INFO"
    bound: dict[str, Any] = {
        "method": method,
        "route": route,
        "status": status,
        "duration_ms": round(duration_ms, 2),
    }
    if route == UNMATCHED:
        bound["path"] = scope["path"]
    logger.bind(**bound).log(level, "{} {} {} {:.1f} ms", method, route, status, duration_ms)
