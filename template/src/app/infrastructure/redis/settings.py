"""Settings of Redis."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from app.core.settings import Count, ModuleSettings, Seconds, Weakness
from app.infrastructure.redis.address import Address, Mode, parse_address


class RedisSettings(ModuleSettings):
    """Where Redis is and how connections are kept."""

    redis_url: SecretStr = SecretStr("embedded://")
    """embedded://, redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster://.
    Several hosts are separated by commas; a Sentinel URL names the service in its path."""
    redis_username: str | None = None
    """User name (Redis ACL), unless the URL holds one."""
    redis_password: SecretStr = SecretStr("")
    """Password, unless the URL holds one."""
    redis_tls_ca: Path | None = None
    """File with the certificates to trust, for rediss:// with a private authority."""
    redis_max_connections: Count = Field(default=50, ge=1)
    """Connections per process."""
    redis_timeout: Seconds = Field(default=5.0, gt=0)
    """How long connecting or one command may take."""
    redis_retries: Count = Field(default=3, ge=0)
    """How often a command is repeated after a connection was lost, with growing pauses."""
    redis_health_interval: Seconds = Field(default=30.0, ge=0)
    """Idle time after which a connection is checked before it is used."""
    redis_embedded_dir: Path = Path("var/redis")
    """Where the embedded server keeps its data."""

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        _ = self.address
        return self

    @property
    def address(self) -> Address:
        """The parsed URL, with name and password filled in.

        Raises:
            ValueError: not a URL this module understands.
        """
        return parse_address(
            self.redis_url.get_secret_value(),
            username=self.redis_username,
            password=self.redis_password.get_secret_value() or None,
        )

    def weaknesses(self) -> Iterable[Weakness]:
        """An embedded server, or one that asks for no password."""
        address = self.address
        if address.mode is Mode.EMBEDDED:
            yield Weakness(
                "REDIS_URL",
                "the embedded server is for development",
                "REDIS_URL=rediss://user:password@host:6379/0",
            )
        elif not address.password and address.mode is not Mode.UNIX:
            yield Weakness(
                "REDIS_PASSWORD",
                "anybody who reaches the server may use it",
                "REDIS_PASSWORD=$(openssl rand -hex 24), with the same in the server's requirepass",
            )
