"""The one declaration every module makes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from dishka import AsyncContainer

if TYPE_CHECKING:
    from dishka import Provider
    from fastapi import APIRouter
    from starlette.types import ASGIApp

    from app.core.health import HealthCheck
    from app.core.settings import ModuleSettings

Hook = Callable[[AsyncContainer], Awaitable[None]]
"""A start-up or shutdown step. It is awaited; what it raises stops the start."""


class Layer(IntEnum):
    """Where in the HTTP stack a middleware sits; lower numbers are further out."""

    OBSERVE = 0
    """Sees every request and every answer, the failed ones included: trace, access log."""
    PROTECT = 100
    """May refuse a request: size limit, CORS, rate limit."""
    ROUTE = 200
    """Closest to the routes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MiddlewareSpec:
    """An ASGI middleware a module adds to the HTTP edge.

    `build` gets the next ASGI application and the application container.
    """

    build: Callable[[ASGIApp, AsyncContainer], ASGIApp]
    layer: Layer = Layer.ROUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A feature: what it is called, what it needs, and what it adds to the service.

    Every folder under `app/infrastructure` and `app/modules` holds a `module.py` with one
    `module = Module(...)`. It is found there; nothing lists it. A `commands.py` beside it, with one
    `typer.Typer(name=..., help=...)`, adds a command group to the CLI.
    """

    name: str
    """Unique, `snake_case`, equal to the folder's name."""
    summary: str
    """One line for `app modules`."""
    requires: tuple[str, ...] = ()
    """Names of the modules that must be there and must have started before this one."""
    settings: type[ModuleSettings] | tuple[type[ModuleSettings], ...] = ()
    """Read from the environment once, then injected by its type. Several, where parts of a module
    have their own."""
    providers: tuple[Provider, ...] = ()
    """dishka providers: what this module can construct for others."""
    routers: tuple[APIRouter, ...] = ()
    middleware: tuple[MiddlewareSpec, ...] = ()
    startup: Hook | None = None
    ready: Hook | None = None
    """When every module has started: begins to take work that comes from outside."""
    drain: Hook | None = None
    """Before any module stops: takes no more of that work, and ends what runs."""
    shutdown: Hook | None = None
    health_checks: tuple[HealthCheck, ...] = ()
    contributes: tuple[object, ...] = ()
    """Objects whose type another module defines and collects, such as the database's `Seed`.

    The collector reads them with `Registry.contributions(Seed)`; core never has to know the type.
    """

    @property
    def settings_classes(self) -> tuple[type[ModuleSettings], ...]:
        """`settings`, whether one, several or none."""
        return self.settings if isinstance(self.settings, tuple) else (self.settings,)
