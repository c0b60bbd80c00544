"""Settings of the HTTP edge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from app.core.settings import Bytes, ModuleSettings, Seconds, Weakness

ANY_ORIGIN = "*"
SHORTEST_PASSWORD = 12
"""Characters; NIST SP 800-63B asks for 15 where a password stands alone, 8 with other factors."""


class ApiSettings(ModuleSettings):
    """How HTTP requests are taken and answered."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages may call this service, separated by commas; none by default."""
    cors_credentials: bool = False
    """Whether those pages may send cookies and HTTP authentication."""
    cors_max_age: Seconds = Field(default=600, ge=0)
    """How long a browser may remember that an origin is allowed."""
    request_max_size: Bytes = Field(default=1_048_576, ge=0)
    """Largest request body, and message of a WebSocket. A route that takes more says
    `max_body_size=...` in its decorator."""
    docs_enabled: bool = True
    """Whether `/docs` and `/openapi.json` are served."""
    docs_username: str = "docs"
    """Name asked for by the docs when `DOCS_PASSWORD` is set."""
    docs_password: SecretStr = SecretStr("")
    """Guards the docs with HTTP basic authentication; empty leaves them open."""
    hsts_max_age: Seconds = Field(default=31_536_000, ge=0)
    """How long browsers shall insist on TLS; sent when deployed. 0 sends nothing."""
    keep_alive: Seconds = Field(default=65, ge=1)
    """How long an idle connection stays open: longer than the load balancer's own limit."""
    shutdown_delay: Seconds | None = Field(default=None, ge=0)
    """How long to keep serving after the signal, not ready, until load balancers have noticed.
    By default 5 when deployed, otherwise 0."""
    shutdown_grace: Seconds = Field(default=30, ge=1)
    """From the signal to the end of the process, `SHUTDOWN_DELAY` included."""

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if origin not in {ANY_ORIGIN, f"{parts.scheme}://{parts.netloc}"}:
                message = "each must be like https://shop.example.com: scheme, host, no path"
                raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.cors_credentials and ANY_ORIGIN in self.cors_origins:
            message = "CORS_CREDENTIALS needs origins by name: CORS_ORIGINS can't be *"
            raise ValueError(message)
        if (self.shutdown_delay or 0) >= self.shutdown_grace:
            message = "SHUTDOWN_DELAY must be less than SHUTDOWN_GRACE"
            raise ValueError(message)
        return self

    def weaknesses(self) -> Iterator[Weakness]:
        """See `ModuleSettings.weaknesses`."""
        if ANY_ORIGIN in self.cors_origins:
            yield Weakness(
                "CORS_ORIGINS",
                "pages of every origin may call this service",
                "CORS_ORIGINS=https://your-site.example",
            )
        if not self.docs_enabled:
            return
        password = self.docs_password.get_secret_value()
        if not password:
            yield Weakness("DOCS_ENABLED", "everybody can read the docs", "DOCS_ENABLED=false")
        elif len(password) < SHORTEST_PASSWORD:
            yield Weakness(
                "DOCS_PASSWORD",
                f"shorter than {SHORTEST_PASSWORD} characters",
                "DOCS_PASSWORD=$(openssl rand -base64 24)",
            )
