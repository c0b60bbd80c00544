"""The logger module."""

from __future__ import annotations

from dishka import AsyncContainer
from starlette.types import ASGIApp

from app.core.events import EventContext
from app.core.module import Layer, MiddlewareSpec, Module
from app.core.settings import SettingsBundle
from app.infrastructure.logger.access import RequestLog
from app.infrastructure.logger.carrying import context_headers
from app.infrastructure.logger.proxies import ClientAddress
from app.infrastructure.logger.settings import LoggerSettings
from app.infrastructure.logger.setup import configure_logging


def build(app: ASGIApp, container: AsyncContainer) -> ASGIApp:
    """Set up the log before any module starts, then wrap the application."""
    configure_logging(container.get_sync(SettingsBundle))
    settings = container.get_sync(LoggerSettings)
    return RequestLog(app, ClientAddress(settings.trusted_proxies))


async def start(container: AsyncContainer) -> None:
    """Set up the log of a process without HTTP."""
    configure_logging(await container.get(SettingsBundle))


module = Module(
    name="logger",
    summary="Loguru as the one log; trace context, access log, redaction",
    settings=LoggerSettings,
    middleware=(MiddlewareSpec(build=build, layer=Layer.OBSERVE),),
    startup=start,
    contributes=(EventContext(context_headers),),
)
