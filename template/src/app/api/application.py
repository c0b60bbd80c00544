"""Build the ASGI application from the modules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from dishka import Provider
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.lifecycle import Lifecycle
from app.core.module import MiddlewareSpec
from app.core.project import project
from app.core.settings import SettingsBundle, load_settings


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
        ConfigurationError: settings that can't be used, or a container that can't be built.
    """
    registry = registry or discover()
    settings = settings or load_settings(registry.modules)
    container = build_container(registry, settings, *overrides)
    specs = sorted(
        (spec for module in registry.modules for spec in module.middleware),
        key=lambda spec: spec.layer,
    )
    app = FastAPI(
        title=project().name,
        description=project().description,
        version=project().version,
        lifespan=_lifespan,
        middleware=[Middleware(partial(_build, spec, container)) for spec in specs],
    )
    app.state.dishka_container = container
    app.state.lifecycle = Lifecycle(registry, settings, container)
    for module in registry.modules:
        for router in module.routers:
            app.include_router(router)
    return app


def _build(spec: MiddlewareSpec, container: Any, app: ASGIApp) -> ASGIApp:
    return spec.build(app, container)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with app.state.lifecycle:
        yield
