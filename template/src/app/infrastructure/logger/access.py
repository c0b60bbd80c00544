"""One line per request, and the trace every other line of it carries."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from time import perf_counter, time
from typing import Any

from loguru import logger
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.infrastructure.logger.context import LogContext, current_context, enter, leave
from app.infrastructure.logger.levels import levels
from app.infrastructure.logger.lines import Line, add_context, clean, timestamp
from app.infrastructure.logger.proxies import ClientAddress
from app.infrastructure.logger.redaction import clean_word
from app.infrastructure.logger.setup import is_only_sink, pipeline
from app.infrastructure.logger.traceparent import (
    new_span_id,
    new_trace_id,
    parse_traceparent,
)

UNMATCHED = "<unmatched>"
"""Route of a request no route answers: its path is the client's invention."""
QUIET_PATHS = "/health"
"""Asked every few seconds by orchestrators: logged at DEBUG."""
SERVER_ERROR = 500
FORBIDDEN = 403
CLIENT_GONE = 499
"""The client did not wait for the answer: nginx's number, the standard has none."""
HANDSHAKE = {"websocket.accept": 101, "websocket.http.response.start": SERVER_ERROR}
"""What answers the opening of a WebSocket, with the status when the message has none."""
NUMBERS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING}
LONGEST_AGENT = 300
"""Characters of the user agent that are kept."""


class RequestLog:
    """Opens the context of a request, returns its trace, and logs how it ended, once.

    An error that nobody handled is logged by the API's edge; here it shows as status 500.
    """

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
        answer = (b"traceparent", (context.traceparent or "").encode())
        status = SERVER_ERROR

        async def send_traced(message: Message) -> None:
            nonlocal status
            kind = message["type"]
            if kind == "http.response.start" or kind in HANDSHAKE:
                status = message.get("status") or HANDSHAKE[kind]
                message["headers"] = [*(message.get("headers") or ()), answer]
            elif kind == "websocket.close" and status == SERVER_ERROR:
                status = FORBIDDEN  # closed before it was accepted: servers answer so
            await send(message)

        token = enter(context)
        try:
            await self._app(scope, receive, send_traced)
        except CancelledError:
            status = CLIENT_GONE
            raise
        finally:
            _log(scope, status, (perf_counter() - started) * 1000)
            leave(token)

    def _open(self, scope: Scope) -> LogContext:
        traces: list[bytes] = []
        agent = forwarded = None
        for name, value in scope["headers"]:
            if name == b"traceparent":
                traces.append(value)
            elif name == b"user-agent":
                agent = value[:LONGEST_AGENT].decode("latin-1")
            elif name == b"x-forwarded-for":
                text = value.decode("latin-1")
                forwarded = f"{forwarded},{text}" if forwarded else text
        peer = scope["client"][0] if scope.get("client") else None
        # Of two headers neither can be trusted to be the caller's.
        parent = parse_traceparent(traces[0]) if len(traces) == 1 else None
        return LogContext(
            trace_id=parent.trace_id if parent else new_trace_id(),
            span_id=new_span_id(),
            client_address=self._addresses.resolve(peer, forwarded) if peer else None,
            user_agent=agent,
            sampled=parent.sampled if parent else True,
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
    method: str = scope.get("method", "WEBSOCKET")
    route = route_template(scope)
    if scope["path"].startswith(QUIET_PATHS):
        level = "DEBUG"
    else:
        # A failure's cause has been logged as an error; counting it twice would mislead.
        level = "INFO" if status < SERVER_ERROR else "WARNING"
    bound: dict[str, Any] = {
        "method": method,
        "route": route,
        "status": status,
        "duration_ms": round(duration_ms, 2),
    }
    if route == UNMATCHED:
        bound["path"] = scope["path"]
    if is_only_sink():
        _publish(level, bound)
    else:
        text = "{} {} {} {:.1f} ms"
        logger.bind(**bound).log(level, text, method, route, status, duration_ms)


def _publish(level: str, bound: dict[str, Any]) -> None:
    """Write the line without loguru in between, which would double what a request costs.

    Loguru looks up the caller, thread and process, none of which this line shows.
    """
    if NUMBERS[level] < levels.of(__name__):
        return
    method, route = clean_word(bound["method"]), clean_word(bound["route"])
    line: Line = {
        "timestamp": timestamp(time()),
        "level": level,
        "logger": __name__,
        "message": f"{method} {route} {bound['status']} {bound['duration_ms']:.1f} ms",
    }
    add_context(line, current_context())
    line |= bound
    line["method"], line["route"] = method, route
    if "path" in bound:
        line["path"] = clean("path", bound["path"])
    pipeline.publish(line)
