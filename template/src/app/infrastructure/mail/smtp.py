"""Mails to a server: SMTP (RFC 5321) with aiosmtplib.

A connection per mail, `MAIL_CONNECTIONS` at a time. Kept ones would save a handshake and cost a
check before each use: servers close idle connections after seconds, and in the middle of one.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from app.infrastructure.mail.address import Security, SmtpAddress
from app.infrastructure.mail.errors import (
    MailError,
    MailPartlyRefusedError,
    MailRefusedError,
    MailUnavailableError,
)
from app.infrastructure.mail.settings import MailSettings
from app.infrastructure.mail.transport import Envelope

PERMANENT = range(500, 600)
"""Codes that say that the same mail will be refused again (RFC 5321 §4.2.1)."""
GOODBYE_SECONDS = 2.0
"""How long a server may take to answer `QUIT`; by then it has the mail."""
LONGEST_ANSWER = 200
"""Characters of a server's answer that are repeated."""
SOMEBODY = re.compile(r"<[^<>]*>|\S+@\S+")
"""What may be an address in a server's answer."""


class SmtpTransport:
    """Hands mails to a server."""

    def __init__(self, address: SmtpAddress, settings: MailSettings) -> None:
        """Know the server; nothing is connected yet."""
        self._address = address
        self._timeout = settings.mail_timeout
        self._slots = asyncio.Semaphore(settings.mail_connections)
        ca = str(settings.mail_tls_ca) if settings.mail_tls_ca else None
        secure = address.security is not Security.NONE
        self._name: str | None = None  # of this machine; asking for it takes a while, once
        self._tls = ssl.create_default_context(cafile=ca) if secure else None

    async def send(self, envelope: Envelope) -> None:
        """See `MailTransport.send`."""
        async with self._connected() as server:
            try:
                refused, _ = await server.send_message(
                    envelope.message, sender=envelope.sender, recipients=envelope.recipients
                )
            except (SMTPException, ValueError) as error:
                raise _translated(error) from None  # its text may name a recipient
        if refused:
            answers = _described((answer.code, answer.message) for answer in refused.values())
            count = f"{len(refused)} of {len(envelope.recipients)}"
            message = f"the mail server refuses the mail for {count} recipients: {answers}"
            raise MailPartlyRefusedError(message)

    async def check(self) -> Mapping[str, object]:
        """See `MailTransport.check`: connect, log in, and say nothing (`NOOP`)."""
        async with self._connected() as server:
            try:
                await server.noop()
            except SMTPException as error:
                raise _translated(error) from None
        return {"transport": "smtp", "security": self._address.security.value}

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[SMTP]:
        """Yield a connection that is logged in.

        Whatever goes wrong on the way there is a matter of the server or of our settings, not of
        the mail: wrong passwords are mended, and the mail shall leave then.
        """
        async with self._slots:
            server = self._client()
            deadline = asyncio.timeout(self._timeout)
            try:
                async with deadline:
                    await self._connect(server)
                    yield server
                await _leave(server)
            except TimeoutError:
                if not deadline.expired():
                    raise
                message = f"the mail server took longer than MAIL_TIMEOUT, {self._timeout:g} s"
                raise MailUnavailableError(message) from None
            finally:
                server.close()

    async def _connect(self, server: SMTP) -> None:
        try:
            await server.connect()
        except (SMTPException, OSError) as error:
            raise self._unreachable(error) from None
        self._name = server.local_hostname

    def _client(self) -> SMTP:
        address = self._address
        return SMTP(
            hostname=address.host,
            port=address.port,
            username=address.username,
            password=address.password,
            local_hostname=self._name,
            use_tls=address.security is Security.TLS,
            start_tls=address.security is Security.STARTTLS,
            tls_context=self._tls,
            timeout=self._timeout,
        )

    def _unreachable(self, error: Exception) -> MailUnavailableError:
        reason = type(error).__name__
        if isinstance(error, SMTPResponseException):
            reason = _described([(error.code, error.message)])
        elif isinstance(error, ssl.SSLError):
            reason = f"TLS: {error.reason or reason}"
        message = f"the mail server {self._address} can't be used: {reason}"
        return MailUnavailableError(message)


async def _leave(server: SMTP) -> None:
    """Say goodbye. The mail is taken by then: a server that does not answer changes nothing."""
    with suppress(SMTPException, OSError):
        if server.is_connected:
            await server.quit(timeout=GOODBYE_SECONDS)


def _translated(error: Exception) -> MailError:
    """Return our error for one of aiosmtplib's, without any address."""
    if isinstance(error, SMTPRecipientsRefused):
        return _refusal([(one.code, one.message) for one in error.recipients])
    if isinstance(error, SMTPResponseException):
        return _refusal([(error.code, error.message)])
    if isinstance(error, SMTPTimeoutError):
        return MailUnavailableError("the mail server does not answer in time")
    if isinstance(error, SMTPServerDisconnected):
        return MailUnavailableError("the mail server has closed the connection")
    return MailRefusedError(f"the mail can't be handed over: {type(error).__name__}")


def _refusal(answers: list[tuple[int, str]]) -> MailError:
    text = _described(answers)
    if all(code in PERMANENT for code, _ in answers):
        return MailRefusedError(f"the mail server refuses the mail: {text}")
    return MailUnavailableError(f"the mail server does not take the mail now: {text}")


def _described(answers: Iterable[tuple[int, str]]) -> str:
    """Return what a server answered, once each, in one line, addresses left out."""
    lines = (f"{code} {' '.join(SOMEBODY.sub('…', text).split())}" for code, text in answers)
    return "; ".join(dict.fromkeys(line[:LONGEST_ANSWER].strip() for line in lines))
