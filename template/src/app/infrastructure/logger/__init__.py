"""Logging: loguru is the one API, everything else is routed into it."""

from app.infrastructure.logger.context import (
    LogContext,
    bind_context,
    current_context,
    in_context,
    set_locale,
    set_tenant,
    set_user,
)
from app.infrastructure.logger.levels import set_level
from app.infrastructure.logger.secrets import register_secret
from app.infrastructure.logger.setup import configure_logging

__all__ = [
    "LogContext",
    "bind_context",
    "configure_logging",
    "current_context",
    "in_context",
    "register_secret",
    "set_level",
    "set_locale",
    "set_tenant",
    "set_user",
]
