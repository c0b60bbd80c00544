"""Limits around the routes: one layer counts, one tells."""

from __future__ import annotations

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import AppError
from app.infrastructure.rate_limiter.limiter import RateLimiter, RequestLimits
from app.infrastructure.rate_limiter.limits import STATE, Limit
from app.infrastructure.rate_limiter.routes import Operation, RouteTable
from app.infrastructure.rate_limiter.settings import RateLimiterSettings


class Tell:
    """Puts `RateLimit` and `RateLimit-Policy` on every answer, those to errors included.

    draft-ietf-httpapi-ratelimit-headers-11, as lists of structured fields (RFC 9651).
    """

    def __init__(self, app: ASGIApp, limiter: RateLimiter) -> None:
        """Sit outside of what turns errors into answers."""
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope[STATE] = RequestLimits(self._limiter)

        async def send_told(message: Message) -> None:
            if state.policies and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *fields(state)]
            await send(message)

        await self._app(scope, receive, send_told)


class Door:
    """Counts a request before it is routed, and refuses it by an error the edge answers."""

    def __init__(self, app: ASGIApp, limiter: RateLimiter, settings: RateLimiterSettings) -> None:
        """Read the routes when the first request has come: all of them are there then."""
        self._app = app
        self._limiter = limiter
        self._exempt = settings.rate_limit_exempt
        self._table: RouteTable | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            QuotaExceededError: there were too many.
            TemporaryReducedCapacityError: it can't be counted, and one of its limits is closed.
        """
        if scope["type"] == "http" and self._limiter.enabled:
            if self._table is None:
                self._table = RouteTable(scope["app"].routes)
            operation = self._table.find(scope)
            state: RequestLimits = scope[STATE]
            state.route = operation.name
            if limits := limits_of(operation, self._limiter.default, self._exempt):
                try:
                    await state.at_door(limits, Request(scope))
                except AppError:
                    scope["route"] = operation  # nobody else will name it to the log
                    raise
        await self._app(scope, receive, send)


def limits_of(
    operation: Operation, default: Limit | None, exempt: tuple[str, ...]
) -> tuple[Limit, ...]:
    """Return the limits that hold for an operation: its own, or the default."""
    if operation.limits or operation.free or default is None:
        return operation.limits
    path = operation.path_format
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in exempt):
        return ()
    return (default,)


def fields(state: RequestLimits) -> list[tuple[bytes, bytes]]:
    """Return the header fields."""
    policy = ", ".join(policy.shown for policy in state.policies)
    found = [(b"ratelimit-policy", policy.encode())]
    if state.verdicts:
        stand = ", ".join(
            f'"{verdict.policy.name}";r={verdict.left};t={-(-verdict.ends // 1000)}'
            for verdict in state.verdicts
        )
        found.insert(0, (b"ratelimit", stand.encode()))
    return found
