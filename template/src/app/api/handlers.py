"""Turn what a route raises into a problem document."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from loguru import logger
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from app.api.problems import render_error, render_invalid, render_status
from app.api.validation import describe
from app.core.errors import AppError

BODILESS = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(AppError, _handled)
    app.add_exception_handler(HTTPException, _handled)
    app.add_exception_handler(RequestValidationError, _handled)


def answer_to(scope: Scope, error: Exception) -> Response | None:
    """Return the answer to an error that is meant for the client, None for any other."""
    if isinstance(error, AppError):
        if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log_unhandled(scope, error)
        return render_error(scope, error)
    if isinstance(error, HTTPException):
        if error.status_code in BODILESS:
            return Response(status_code=error.status_code, headers=error.headers)
        return render_status(scope, error.status_code, error.detail, error.headers)
    if isinstance(error, RequestValidationError):
        return render_invalid(scope, describe(error.errors()))
    return None


def internal_error(scope: Scope) -> Response:
    """Return the answer to an error nobody handled: it tells nothing but the trace id."""
    return render_error(scope, AppError())


def log_unhandled(scope: Scope, error: Exception) -> None:
    """Log an error nobody handled, once, with its trace."""
    logger.opt(exception=error).error(
        "Unhandled {} in {} {}", type(error).__name__, scope.get("method", ""), scope["path"]
    )


async def _handled(request: Request, error: Exception) -> Response:
    return answer_to(request.scope, error) or internal_error(request.scope)
