"""Settings of the logger."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from app.core.settings import Bytes, Count, ModuleSettings, Weakness

LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")


class LogFormat(StrEnum):
    """What lines look like."""

    AUTO = "auto"
    """JSON when deployed, console otherwise."""
    CONSOLE = "console"
    """For people."""
    JSON = "json"
    """One object a line, for machines."""


class LoggerSettings(ModuleSettings):
    """What is logged, where, and how."""

    log_level: str = "INFO"
    """TRACE, DEBUG, INFO, SUCCESS, WARNING, ERROR or CRITICAL."""
    log_levels: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)
    """Levels of single loggers: `uvicorn.error=WARNING,app.api=DEBUG`."""
    log_format: LogFormat = LogFormat.AUTO
    """auto (JSON when deployed, otherwise console), console or json."""
    log_file: Path | None = None
    """Also write JSON lines to this file. It belongs to one process."""
    log_file_size: Bytes = Field(default=10_000_000, ge=1000)
    """Size at which the file is rotated."""
    log_file_count: Count = Field(default=5, ge=1)
    """Rotated files kept."""
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """Networks whose `X-Forwarded-For` is believed, separated by commas; none by default."""

    @field_validator("log_levels", mode="before")
    @classmethod
    def _split_levels(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(separator for _, separator, _ in pairs):
            message = "must be name=LEVEL, several separated by commas"
            raise ValueError(message)
        return {name.strip(): level.strip().upper() for name, _, level in pairs}

    @field_validator("log_level", mode="after")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in LEVELS:
            message = f"must be one of {', '.join(LEVELS)}"
            raise ValueError(message)
        return value.upper()

    @field_validator("log_levels", mode="after")
    @classmethod
    def _known_levels(cls, value: dict[str, str]) -> dict[str, str]:
        for level in value.values():
            cls._known_level(level)
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    def weaknesses(self) -> Iterator[Weakness]:
        """See `ModuleSettings.weaknesses`."""
        if any(network.prefixlen == 0 for network in self.trusted_proxies):
            yield Weakness(
                "TRUSTED_PROXIES",
                "everybody may claim to be any client",
                "TRUSTED_PROXIES=10.0.0.0/8 (the network of your load balancer)",
            )
