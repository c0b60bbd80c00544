"""The mail module."""

from __future__ import annotations

from dishka import AsyncContainer, Provider, Scope

from app.core.deferring import CallableLater
from app.core.discovery import Registry
from app.core.module import Module
from app.infrastructure.mail.address import FolderAddress
from app.infrastructure.mail.files import FileTransport
from app.infrastructure.mail.health import MAIL_CHECK, MailProbe
from app.infrastructure.mail.post import Post
from app.infrastructure.mail.service import EmailService
from app.infrastructure.mail.settings import MailSettings
from app.infrastructure.mail.smtp import SmtpTransport
from app.infrastructure.mail.templates import MailTemplates, Templates
from app.infrastructure.mail.transport import MailTransport


def provide_transport(settings: MailSettings) -> MailTransport:
    """What `MAIL_URL` names."""
    address = settings.address
    if isinstance(address, FolderAddress):
        return FileTransport(address.folder)
    return SmtpTransport(address, settings)


def provide_templates(registry: Registry) -> Templates:
    """Those of all modules."""
    return Templates(registry.contributions(MailTemplates))


provider = Provider(scope=Scope.APP)
provider.provide(provide_transport)
provider.provide(provide_templates)
provider.provide(Post)
provider.provide(EmailService)
provider.provide(MailProbe)


async def start(container: AsyncContainer) -> None:
    """Compile the templates. The server is not asked: mails can wait, the service need not.

    Raises:
        ConfigurationError: one of them has a mistake.
    """
    await container.get(Templates)


module = Module(
    name="mail",
    summary="Mail: templates, a fluent service that can be called later, SMTP or files",
    settings=MailSettings,
    providers=(provider,),
    startup=start,
    health_checks=(MAIL_CHECK,),
    contributes=(CallableLater(EmailService),),
)
