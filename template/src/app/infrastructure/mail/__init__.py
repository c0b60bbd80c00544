"""Mail: templates, a fluent service that can be called later, SMTP or files behind it."""

from app.infrastructure.mail.draft import EmailDraft
from app.infrastructure.mail.errors import (
    InvalidMailError,
    MailError,
    MailPartlyRefusedError,
    MailRefusedError,
    MailTemplateError,
    MailUnavailableError,
)
from app.infrastructure.mail.service import EmailService
from app.infrastructure.mail.templates import MailTemplates
from app.infrastructure.mail.transport import Envelope, MailTransport

__all__ = [
    "EmailDraft",
    "EmailService",
    "Envelope",
    "InvalidMailError",
    "MailError",
    "MailPartlyRefusedError",
    "MailRefusedError",
    "MailTemplateError",
    "MailTemplates",
    "MailTransport",
    "MailUnavailableError",
]
