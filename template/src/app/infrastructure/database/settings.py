"""Settings of the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.settings import Count, ModuleSettings, Seconds, Unit, Weakness

DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}
"""Accepted URL schemes, and the driver each is served by."""
SHORT_PASSWORD = 12
"""Characters; a database password below that is refused in production."""
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def parse_database_url(variable: str, text: str) -> URL:
    """Return the URL with the driver this service uses.

    Raises:
        ValueError: another database, or not a URL. The message never shows the URL: it may hold a
            password.
    """
    try:
        url = make_url(text)
    except ArgumentError:
        message = f"{variable} is not a URL such as postgresql://user:password@host:5432/name"
        raise ValueError(message) from None
    if url.drivername not in DRIVERS:
        known = ", ".join(sorted(DRIVERS))
        message = f"{variable} starts with {url.drivername!r}; known are: {known}"
        raise ValueError(message)
    query = dict(url.query)
    # libpq spells it `sslmode`, and so do the URLs hosting providers hand out; asyncpg says `ssl`.
    if "sslmode" in query and "ssl" not in query:
        query["ssl"] = query.pop("sslmode")
    return url.set(drivername=DRIVERS[url.drivername], query=query)


class DatabaseSettings(ModuleSettings):
    """Where the data is and how connections are kept."""

    database_url: SecretStr | None = None
    """SQLite or PostgreSQL, as a URL. Without it: the `DB_*` parts; without those: var/app.db."""
    db_host: str | None = None
    """PostgreSQL server, when `DATABASE_URL` is not used."""
    db_port: Annotated[int, Unit("port")] = Field(default=5432, ge=1, le=65535)
    """PostgreSQL port."""
    db_user: str = "postgres"
    """PostgreSQL role."""
    db_password: SecretStr = SecretStr("")
    """Password of the role."""
    db_name: str = "postgres"
    """PostgreSQL database."""
    database_replica_urls: SecretStr = SecretStr("")
    """Read replicas: URLs separated by blanks. `read_only()` reads from them."""
    db_pool_size: Count = Field(default=5, ge=1)
    """Connections kept open, per process and server."""
    db_pool_overflow: Count = Field(default=10, ge=0)
    """Connections opened beyond the pool when all are in use."""
    db_pool_timeout: Seconds = Field(default=5.0, gt=0)
    """How long a request waits for a free connection before it fails with 503."""
    db_pool_recycle: Seconds = Field(default=1800.0, gt=0)
    """Age at which a connection is replaced; below what firewalls and proxies cut."""
    db_connect_timeout: Seconds = Field(default=5.0, gt=0)
    """How long opening a connection may take."""
    db_statement_timeout: Seconds = Field(default=30.0, gt=0)
    """How long one statement may run (PostgreSQL; on SQLite: how long it waits for a lock)."""
    db_circuit_failures: Count = Field(default=5, ge=1)
    """Failed connection attempts in a row after which no more are made for a while."""
    db_circuit_reset: Seconds = Field(default=5.0, gt=0)
    """How long no attempt is made; then one is, and decides."""
    db_replica_retry: Seconds = Field(default=10.0, gt=0)
    """How long an unreachable replica is left alone."""
    db_echo: bool = False
    """Log every statement."""

    @model_validator(mode="after")
    def _check_urls(self) -> Self:
        if self.database_url and self.db_host:
            message = "DATABASE_URL and DB_HOST are both set: remove one of them"
            raise ValueError(message)
        _ = self.url, self.replica_urls
        return self

    @property
    def url(self) -> URL:
        """The primary."""
        if self.database_url:
            return parse_database_url("DATABASE_URL", self.database_url.get_secret_value())
        if self.db_host:
            return URL.create(
                DRIVERS["postgresql"],
                username=self.db_user,
                password=self.db_password.get_secret_value() or None,
                host=self.db_host,
                port=self.db_port,
                database=self.db_name,
            )
        return make_url("sqlite+aiosqlite:///var/app.db")

    @property
    def replica_urls(self) -> tuple[URL, ...]:
        """The read replicas."""
        texts = self.database_replica_urls.get_secret_value().split()
        return tuple(parse_database_url("DATABASE_REPLICA_URLS", text) for text in texts)

    def weaknesses(self) -> Iterable[Weakness]:
        """SQLite, and passwords that are missing or guessable."""
        url = self.url
        variable = "DB_PASSWORD" if self.db_host else "DATABASE_URL"
        if url.get_backend_name() == "sqlite":
            yield Weakness(
                "DATABASE_URL",
                "the embedded SQLite is for development",
                "DATABASE_URL=postgresql://user:password@host:5432/name",
            )
            return
        password = str(url.password or "")
        if len(password) < SHORT_PASSWORD or password in {url.username, url.database}:
            yield Weakness(
                variable,
                f"the password is missing, shorter than {SHORT_PASSWORD} characters or a name",
                "openssl rand -hex 24 makes a good one; set it on the server too",
            )
