"""The docs page and the OpenAPI document, guarded on request."""

from __future__ import annotations

import re
from hmac import compare_digest
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from app.api.headers import docs_policy
from app.api.settings import ApiSettings
from app.core.errors import UnauthorizedError

OPENAPI_PATH = "/openapi.json"
DOCS_PATH = "/docs"
ASSETS = "https://cdn.jsdelivr.net"
"""Where FastAPI's page loads Swagger UI from."""

basic = HTTPBasic(auto_error=False)


def docs_router(settings: ApiSettings, title: str) -> APIRouter:
    """Return the routes of the docs; all ask for the password when there is one."""
    guards = [Depends(_guard(settings))] if settings.docs_password.get_secret_value() else []
    router = APIRouter(include_in_schema=False, dependencies=guards)

    async def openapi(request: Request) -> JSONResponse:
        schema: dict[str, Any] = request.app.openapi()
        return JSONResponse(schema)

    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        page = get_swagger_ui_html(
            openapi_url=f"{root}{OPENAPI_PATH}", title=title, oauth2_redirect_url=None
        )
        script = re.search(r"<script>(.*?)</script>", bytes(page.body).decode(), re.DOTALL)
        policy = docs_policy(script[1] if script else "", ASSETS)
        page.headers["content-security-policy"] = policy
        return page

    router.add_api_route(OPENAPI_PATH, openapi)
    router.add_api_route(DOCS_PATH, docs)
    return router


def _guard(settings: ApiSettings) -> Any:
    name = settings.docs_username.encode()
    password = settings.docs_password.get_secret_value().encode()

    async def check(given: Annotated[HTTPBasicCredentials | None, Depends(basic)]) -> None:
        # Both are compared whatever the first says, and each in constant time.
        right = given is not None and all(
            [
                compare_digest(given.username.encode(), name),
                compare_digest(given.password.encode(), password),
            ]
        )
        if not right:
            raise UnauthorizedError(headers={"WWW-Authenticate": 'Basic realm="docs"'})

    return check
