"""Who is asking."""

from __future__ import annotations

from datetime import UTC, datetime

from dishka import AsyncContainer
from starlette.requests import HTTPConnection

from app.core.discovery import Registry
from app.core.errors import UnauthorizedError
from app.core.settings import AppSettings
from app.infrastructure.live.ports import Authenticator, Credentials, Viewer
from app.infrastructure.live.settings import LiveSettings

BEARER = "bearer "


def credentials_of(connection: HTTPConnection) -> Credentials:
    """Return what a request brings along.

    Tokens in its address are not looked at: addresses are logged on the way.
    """
    header = connection.headers.get("authorization", "")
    bearer = header[len(BEARER) :].strip() if header.lower().startswith(BEARER) else ""
    return Credentials(bearer or None, dict(connection.cookies))


class Identity:
    """Asks the authenticators other modules contribute."""

    def __init__(
        self,
        registry: Registry,
        container: AsyncContainer,
        settings: LiveSettings,
        app: AppSettings,
    ) -> None:
        """Know whom to ask."""
        self._authenticators = registry.contributions(Authenticator)
        self._container = container
        self.anonymous = settings.live_anonymous or not app.app_env.is_deployed
        """Whether who is not known may follow public channels."""

    @property
    def is_known(self) -> bool:
        """Whether anybody can be told from others at all."""
        return bool(self._authenticators)

    async def viewer(self, credentials: Credentials) -> Viewer | None:
        """Return who is asking; None: somebody without credentials.

        Raises:
            UnauthorizedError: a token that nobody takes, or that has ended; or no credentials where
                some are needed.
        """
        for authenticator in self._authenticators:
            found = await authenticator.authenticate(self._container, credentials)
            if found is not None:
                if found.expires_at and found.expires_at <= datetime.now(UTC):
                    raise refused()
                return found
        if credentials.bearer is not None or not self.anonymous:
            raise refused()
        return None


def refused() -> UnauthorizedError:
    """Return the error (RFC 6750, section 3)."""
    return UnauthorizedError(headers={"WWW-Authenticate": "Bearer"})
