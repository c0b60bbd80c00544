"""Build the ASGI application from the modules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from dishka import AsyncContainer, Provider
from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import handlers, openapi
from app.api.cors import Cors
from app.api.docs import docs_router
from app.api.edge import Edge
from app.api.headers import security_headers
from app.api.last_resort import LastResort
from app.api.settings import ApiSettings
from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.errors import ConfigurationError
from app.core.lifecycle import Lifecycle
from app.core.module import Layer
from app.core.project import project
from app.core.settings import AppSettings, SettingsBundle, load_settings
from app.infrastructure.health import Readiness


class Application(FastAPI):
    """FastAPI, with problems in the OpenAPI document, plain words at start-up, a shorter way."""

    traced = True
    """Whether telemetry is or may be set up: known once every module has started."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document; made once."""
        schema = super().openapi()
        if "Problem" not in schema.get("components", {}).get("schemas", {}):
            openapi.document_problems(schema)
        return schema

    def build_middleware_stack(self) -> ASGIApp:
        """Build the stack without the framework's outer layers, whose work `Edge` does.

        They cost each request a tenth of what a bare route costs.
        """
        app: ASGIApp = ExceptionMiddleware(
            AsyncExitStackMiddleware(self.router), self.exception_handlers
        )
        for layer, arguments, options in reversed(self.user_middleware):
            app = layer(app, *arguments, **options)
        return LastResort(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        if scope["type"] == "lifespan":
            send = partial(self._send_lifespan, send)
        elif self.middleware_stack is not None and not self.traced:
            # What is left of the framework's own way when nobody has asked for telemetry.
            scope["app"] = self
            await self.middleware_stack(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

    async def _send_lifespan(self, send: Send, message: Message) -> None:
        # The server logs this text: what to change is worth more than where it was noticed.
        refusal = getattr(self.state, "refusal", None)
        if refusal and message["type"] == "lifespan.startup.failed":
            message["message"] = refusal
        await send(message)


def create_app(
    *,
    registry: Registry | None = None,
    settings: SettingsBundle | None = None,
    overrides: Sequence[Provider] = (),
) -> FastAPI:
    """Build the service. Its lifespan starts the modules and stops them.

    Args:
        registry: the modules; by default those found in `app`.
        settings: read settings; by default from the environment and `.env`.
        overrides: providers that replace parts, their factories marked `override=True`.

    Raises:
        ConfigurationError: settings that can't be used, a container that can't be built, or two
            operations of one name.
    """
    registry = registry or discover()
    settings = settings or load_settings(registry.modules)
    container = build_container(registry, settings, *overrides)
    app = Application(
        title=project().name,
        description=project().description,
        version=project().version,
        openapi_tags=openapi.tags(registry),
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
        lifespan=_lifespan,
        middleware=_middleware(registry, settings, container),
    )
    handlers.install(app)
    app.state.dishka_container = container
    app.state.lifecycle = Lifecycle(registry, settings, container)
    app.state.readiness = container.get_sync(Readiness)
    _include_routers(app, registry, settings.get(ApiSettings))
    return app


def _middleware(
    registry: Registry, settings: SettingsBundle, container: AsyncContainer
) -> list[Middleware]:
    """Return the stack from the outside in: observing, CORS, the edge, protecting, routing."""
    specs = sorted(
        (spec for module in registry.modules for spec in module.middleware),
        key=lambda spec: spec.layer,
    )
    built = [(spec.layer, Middleware(partial(_swap, spec.build, container))) for spec in specs]
    own = settings.get(ApiSettings)
    deployed = settings.get(AppSettings).app_env.is_deployed
    edge = Middleware(
        Edge,
        headers=security_headers(own, deployed=deployed),
        max_size=own.request_max_size,
        stopping=container.get_sync(Readiness).stopping,
    )
    return [
        *(item for layer, item in built if layer < Layer.PROTECT),
        *([Middleware(Cors, own)] if own.cors_origins else []),
        edge,
        *(item for layer, item in built if layer >= Layer.PROTECT),
    ]


def _swap(build: Any, container: AsyncContainer, app: Any) -> Any:
    return build(app, container)


def _include_routers(app: FastAPI, registry: Registry, settings: ApiSettings) -> None:
    for module in registry.modules:
        for router in module.routers:
            app.include_router(router, tags=[] if router.tags else [module.name])
    openapi.refuse_duplicate_operations(app.routes)
    if settings.docs_enabled:
        app.include_router(docs_router(settings, app.title))


def _is_traced(app: FastAPI) -> bool:
    """Tell whether FastAPI's telemetry is set up. Left alone it looks that up for each request."""
    native = getattr(app, "_native_telemetry", None)
    return native is None or native.enabled()


@asynccontextmanager
async def _lifespan(app: Application) -> AsyncIterator[None]:
    lifecycle: Lifecycle = app.state.lifecycle
    try:
        await lifecycle.start()
    except ConfigurationError as error:
        app.state.refusal = str(error)
        raise
    readiness: Readiness = app.state.readiness
    app.traced = _is_traced(app)
    readiness.serve()
    try:
        yield
    finally:
        readiness.stop()
        await lifecycle.stop()
