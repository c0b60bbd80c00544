"""Problem documents (RFC 9457): what every error looks like to a client."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.types import Scope

from app.core.errors import AppError
from app.core.problems import PROBLEM_JSON
from app.infrastructure.logger.context import current_context

TYPE_PREFIX = "/problems/"
INTERNAL = "internal-error"
"""Kind of an error about which nothing is told."""
PHRASES = {
    413: "Content too large",
    414: "URI too long",
    416: "Range not satisfiable",
    422: "Unprocessable",
}
"""Where Python 3.11 and later ones disagree about the phrase of a status."""


class FieldProblem(BaseModel):
    """One part of the request that is not acceptable."""

    location: str = Field(description="`body`, `query`, `path`, `header` or `cookie`.")
    pointer: str = Field(description="JSON pointer (RFC 6901) into that part.")
    code: str = Field(description="Stable name of the rule that was broken.")
    detail: str


class Problem(BaseModel):
    """A problem document (RFC 9457). More members may be present, by type."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/not-found",
                    "title": "Not found",
                    "status": 404,
                    "detail": "There is no such thing here.",
                    "instance": "/things/1",
                    "traceId": "0af7651916cd43dd8448eb211c80319c",
                }
            ]
        },
    )

    type: str = Field(description="Stable reference to the kind of problem.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status code.")
    detail: str = Field(description="What happened this time.")
    instance: str = Field(description="The path that was asked for.")
    traceId: str = Field(description="Finds the request in logs and traces.")  # noqa: N815 - on the wire
    errors: list[FieldProblem] | None = Field(
        default=None, description="Each value that is not acceptable (status 422)."
    )


def render(  # noqa: PLR0913 - the members of a problem document
    scope: Scope,
    status: int,
    kind: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> Response:
    """Return the answer for one problem.

    Args:
        scope: of the request.
        status: HTTP status code.
        kind: the slug of the problem type, such as `not-found`.
        detail: a sentence for the client.
        headers: added to the answer.
        extensions: further members; they can't replace the standard ones.
    """
    document = {
        **(extensions or {}),
        "type": f"{TYPE_PREFIX}{kind}",
        "title": kind.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": quote(scope["path"]),
        "traceId": current_context().trace_id,
    }
    # ASCII only: a key sent by a client may hold half a surrogate pair, which UTF-8 can't express.
    body = json.dumps(document, default=str, separators=(",", ":")).encode("ascii")
    return Response(body, status, headers, PROBLEM_JSON)


def render_error(scope: Scope, error: AppError) -> Response:
    """Return the answer for an error of the service."""
    return render(
        scope,
        int(error.status),
        INTERNAL if type(error) is AppError else error.problem_type(),
        error.detail,
        headers=error.headers,
        extensions=error.extensions,
    )


def render_status(
    scope: Scope, status: int, detail: object, headers: Mapping[str, str] | None
) -> Response:
    """Return the answer for a bare status, as the framework raises it."""
    phrase = PHRASES.get(status) or _phrase(status)
    kind = re.sub(r"[^a-z0-9]+", "-", phrase.lower()).strip("-")
    # The framework's default detail only repeats the phrase.
    own_words = detail if isinstance(detail, str) and detail != _phrase(status) else ""
    text = own_words or f"{phrase.capitalize()}."
    return render(scope, status, kind, text, headers=headers)


def render_invalid(scope: Scope, errors: Sequence[Mapping[str, Any]]) -> Response:
    """Return the answer for a request that does not fit the operation's declaration."""
    return render(
        scope,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-request",
        "The request does not have the form this operation takes.",
        extensions={"errors": errors},
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
