"""Settings of the rate limiter."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from app.core.settings import Count, ModuleSettings, Seconds
from app.infrastructure.rate_limiter.limits import By, Limit, OnLimiterDown, limit
from app.infrastructure.rate_limiter.rates import Algorithm

NONE = "none"


class RateLimiterSettings(ModuleSettings):
    """The limit of routes without one of their own, and what holds for all."""

    enable_rate_limiting: bool = True
    """Whether requests are counted at all: off where a gateway does it."""
    rate_limit_default: str = "100/minute"
    """Limit of each route that declares none; several as `10/second;1000/hour`, or `none`."""
    rate_limit_default_by: Annotated[tuple[By, ...], NoDecode] = (By.ADDRESS, By.ROUTE)
    """Whose requests it counts together: address, user, api-key, route, separated by commas.
    Without `route`, those to all routes count together. It counts before dependencies run: `user`
    is whom a middleware has named, and otherwise the address."""
    rate_limit_algorithm: Algorithm = Algorithm.FIXED_WINDOW
    """How it counts: fixed-window, sliding-window or token-bucket."""
    rate_limit_on_down: OnLimiterDown = OnLimiterDown.OPEN
    """What limits that say nothing else do while Redis is away: open (let pass) or closed (503)."""
    rate_limit_timeout: Seconds = Field(default=0.05, gt=0, le=5)
    """How long a request may be held up by counting it."""
    rate_limit_exempt: Annotated[tuple[str, ...], NoDecode] = (
        "/health",
        "/metrics",
        "/docs",
        "/openapi.json",
    )
    """Paths that are never counted, with all below them, separated by commas."""
    rate_limit_api_key_header: str = Field(default="X-API-Key", pattern=r"^[A-Za-z0-9-]+$")
    """Header with the caller's API key, for limits by `api-key`."""
    rate_limit_ipv6_prefix: Count = Field(default=64, ge=32, le=128)
    """Bits of an IPv6 address that are one client: a site gets 64 or fewer, and varies the rest."""

    @field_validator("rate_limit_default_by", "rate_limit_exempt", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("rate_limit_exempt")
    @classmethod
    def _are_paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            if not path.startswith("/") or path == "/":
                message = "each must be a path such as /health; ENABLE_RATE_LIMITING=false is all"
                raise ValueError(message)
        return tuple(path.rstrip("/") for path in value)

    @field_validator("rate_limit_default")
    @classmethod
    def _is_rate(cls, value: str) -> str:
        if value.strip().lower() != NONE:
            limit(value)
        return value

    @field_validator("rate_limit_default_by")
    @classmethod
    def _is_somebody(cls, value: tuple[By, ...]) -> tuple[By, ...]:
        if not value:
            message = "name address, user, api-key or route"
            raise ValueError(message)
        return value

    def default_limit(self) -> Limit | None:
        """Return the limit of routes without one of their own."""
        if self.rate_limit_default.strip().lower() == NONE:
            return None
        return limit(
            self.rate_limit_default,
            by=self.rate_limit_default_by,
            name="default",
            algorithm=self.rate_limit_algorithm,
        )
