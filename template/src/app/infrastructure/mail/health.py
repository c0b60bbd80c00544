"""Would mails be taken?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dishka import AsyncContainer

from app.core.clock import Clock
from app.core.health import HealthCheck, HealthReport
from app.infrastructure.mail.errors import MailError, MailUnavailableError
from app.infrastructure.mail.settings import MailSettings
from app.infrastructure.mail.transport import MailTransport

LOOK_SECONDS = 4.0
"""How long a server may take to answer. Less than the health check has, so that this is kept."""

Found = Mapping[str, object] | MailError


class MailProbe:
    """Asks the transport, and believes the answer for a while."""

    def __init__(self, transport: MailTransport, settings: MailSettings, clock: Clock) -> None:
        """Ask `transport`."""
        self._transport = transport
        self._interval = settings.mail_health_interval
        self._clock = clock
        self._lock = asyncio.Lock()
        self._found: Found = {}
        self._until = float("-inf")

    async def look(self) -> Mapping[str, object]:
        """Return what the transport said, at most `MAIL_HEALTH_INTERVAL` ago.

        Raises:
            MailUnavailableError: it takes no mails.
        """
        async with self._lock:
            if self._clock.monotonic() >= self._until:
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        self._found = await self._transport.check()
                except MailError as error:
                    self._found = error
                except TimeoutError:
                    message = f"the mail server does not answer within {LOOK_SECONDS:g} s"
                    self._found = MailUnavailableError(message)
                self._until = self._clock.monotonic() + self._interval
        if isinstance(self._found, MailError):
            raise MailUnavailableError(self._found.detail)
        return self._found


async def check(container: AsyncContainer) -> HealthReport:
    """Look whether mails would be taken."""
    return HealthReport(details=await (await container.get(MailProbe)).look())


# Mails can wait: without them the service stays in rotation.
MAIL_CHECK = HealthCheck(name="mail", check=check, timeout=5.0, critical=False)
