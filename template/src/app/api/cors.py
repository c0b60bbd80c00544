"""Cross-origin requests: closed unless `CORS_ORIGINS` names who may call."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from app.api.settings import ApiSettings

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = (
    "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match",
    "Last-Event-ID", "traceparent", "tracestate",
)  # fmt: skip
RESPONSE_HEADERS = (
    "ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "traceparent",
)  # fmt: skip


class Cors(CORSMiddleware):
    """Starlette's, with its refusal as a status alone: a browser shows nothing else."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        """Allow the origins of the settings."""
        super().__init__(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            allow_credentials=settings.cors_credentials,
            expose_headers=RESPONSE_HEADERS,
            max_age=int(settings.cors_max_age),
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight request without a body."""
        response = super().preflight_response(request_headers)
        allowed = response.status_code == HTTPStatus.OK
        status = HTTPStatus.NO_CONTENT if allowed else response.status_code
        kept = {
            name: value
            for name, value in response.headers.items()
            if name not in {"content-length", "content-type"}
        }
        return Response(status_code=status, headers=kept)
