"""The logger module."""

from __future__ import annotations

from dishka import AsyncContainer
from pydantic import SecretStr
from starlette.types import ASGIApp

from app.core.module import Layer, MiddlewareSpec, Module
from app.core.settings import AppSettings, SettingsBundle
from app.infrastructure.logger.access import RequestLog
from app.infrastructure.logger.proxies import ClientAddress
from app.infrastructure.logger.redaction import register_secret
from app.infrastructure.logger.settings import LoggerSettings
from app.infrastructure.logger.setup import configure_logging


async def start(container: AsyncContainer) -> None:
    """Set up the log; from now on no secret of the settings can reach it."""
    bundle = await container.get(SettingsBundle)
    for settings in bundle:
        for value in settings.__dict__.values():
            if isinstance(value, SecretStr):
                register_secret(value.get_secret_value())
    configure_logging(bundle.get(LoggerSettings), bundle.get(AppSettings))


def build(app: ASGIApp, container: AsyncContainer) -> ASGIApp:
    """Wrap the application."""
    settings = container.get_sync(LoggerSettings)
    return RequestLog(app, ClientAddress(settings.trusted_proxies))


module = Module(
    name="logger",
    summary="Loguru as the one log; trace context, access log, redaction",
    settings=LoggerSettings,
    middleware=(MiddlewareSpec(build=build, layer=Layer.OBSERVE),),
    startup=start,
)
