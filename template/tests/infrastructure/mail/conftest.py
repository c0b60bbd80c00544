"""A mail server that answers as it is told, and what sends mails to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from aiosmtpd.smtp import Envelope as Received
from dishka import AsyncContainer, Provider, Scope
from pydantic import SecretStr

from app.core.clock import ManualClock
from app.core.ids import new_id
from app.core.settings import AppSettings
from app.infrastructure.mail import EmailService, MailTemplates, MailTransport
from app.infrastructure.mail.post import Post
from app.infrastructure.mail.settings import MailSettings
from app.infrastructure.mail.templates import Templates

TEMPLATES = MailTemplates(Path(__file__).with_name("templates"))
USER, PASSWORD = "service", "s3cret pass"


@dataclass
class Server:
    """What a mail server of the tests got, and what it answers."""

    port: int = 0
    got: list[Received] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    """By command, such as `DATA`; `RCPT nobody@example.com` for one recipient."""
    delays: dict[str, float] = field(default_factory=dict)
    """Seconds before the answer, by command."""
    commands: list[str] = field(default_factory=list)
    secure: list[bool] = field(default_factory=list)
    """Of each mail: whether it came through STARTTLS."""
    logged_in: list[bool] = field(default_factory=list)
    """Of each mail: whether its sender had said who it is."""

    def message(self) -> EmailMessage:
        """Return the newest mail."""
        content = self.got[-1].content
        assert isinstance(content, bytes)
        return message_from_bytes(content, policy=default)

    async def _answer(self, command: str, *more: str) -> str | None:
        self.commands.append(command)
        await asyncio.sleep(self.delays.get(command, 0))
        return next((self.answers[key] for key in (*more, command) if key in self.answers), None)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd calls it so
        self, _server: SMTP, _session: object, envelope: Received, address: str, _options: list[str]
    ) -> str:
        envelope.mail_from = address
        return await self._answer("MAIL") or "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it so
        self, _server: SMTP, _session: object, envelope: Received, address: str, _options: list[str]
    ) -> str:
        refused = await self._answer("RCPT", f"RCPT {address}")
        if refused is None:
            envelope.rcpt_tos.append(address)
        return refused or "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Any, envelope: Received) -> str:  # noqa: N802 - aiosmtpd calls it so
        refused = await self._answer("DATA")
        if refused is None:
            self.got.append(envelope)
            self.secure.append(session.ssl is not None)
            self.logged_in.append(bool(session.authenticated))
        return refused or "250 OK"

    async def handle_NOOP(self, *_: object) -> str:  # noqa: N802 - aiosmtpd calls it so
        return await self._answer("NOOP") or "250 OK"

    async def handle_QUIT(self, *_: object) -> str:  # noqa: N802 - aiosmtpd calls it so
        return await self._answer("QUIT") or "221 Bye"


def _log_in(
    _server: SMTP, _session: object, _envelope: object, _kind: str, data: Any
) -> AuthResult:
    right = LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=data == right, handled=False)


Serve = Callable[..., AbstractAsyncContextManager[Server]]


@asynccontextmanager
async def _serve(
    tls: ssl.SSLContext | None = None, *, implicit: bool = False, **options: Any
) -> AsyncIterator[Server]:
    server = Server()
    loop = asyncio.get_running_loop()
    starttls = None if implicit else tls
    connections: list[SMTP] = []

    def connect() -> SMTP:
        made = SMTP(server, loop=loop, hostname="mail.test", tls_context=starttls, **options)
        connections.append(made)
        return made

    listening = await loop.create_server(connect, "127.0.0.1", 0, ssl=tls if implicit else None)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for connection in connections:  # aiosmtpd leaves open what its clients do
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()
        await asyncio.sleep(0.01)


@pytest.fixture
def serve() -> Serve:
    """What starts mail servers: plain, with STARTTLS, with TLS, with a login."""
    return _serve


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A mail server without TLS."""
    async with _serve() as started:
        yield started


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1, and the file with the certificate that vouches for it."""
    made = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.issue_cert("127.0.0.1").configure_cert(context)
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(path))
    return context, path


@pytest.fixture
def login() -> dict[str, Any]:
    """Options of a server that knows a name and a password."""
    return {"authenticator": _log_in, "auth_require_tls": False}


def mail_settings(url: str, **more: Any) -> MailSettings:
    """Return settings with an address."""
    return MailSettings(mail_url=SecretStr(url), mail_from="Shop <shop@example.com>", **more)


def email_service(
    transport: MailTransport, clock: ManualClock | None = None, **more: Any
) -> EmailService:
    """Return a service that sends with a transport and the templates of the tests."""
    settings = mail_settings("file://unused", **more)
    templates = Templates([TEMPLATES])
    app = AppSettings(app_name="shop")
    return EmailService(Post(templates, transport, settings, app, clock or ManualClock(), new_id))


@pytest.fixture
def overrides(overrides: list[Provider]) -> list[Provider]:
    """Let the service find the templates of the tests."""
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: Templates([TEMPLATES]), provides=Templates, override=True)
    return [*overrides, provider]


@pytest.fixture
async def email(container: AsyncContainer) -> EmailService:
    """The started service's own."""
    return await container.get(EmailService)
