"""Settings of mail."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from app.core.settings import Bytes, Count, ModuleSettings, Seconds, Weakness
from app.infrastructure.mail.address import Address, FolderAddress, Security, parse_address
from app.infrastructure.mail.mailbox import parse_mailbox

NOBODY = "@localhost"
"""End of a sender's address that nobody can answer to."""


class MailSettings(ModuleSettings):
    """Where mails go, and who they are from."""

    mail_url: SecretStr = SecretStr("file://var/mail")
    """smtp:// (with STARTTLS; without TLS: ?tls=none), smtps://, or file:// and a folder."""
    mail_username: str | None = None
    """Name to log in with, unless the URL holds one."""
    mail_password: SecretStr = SecretStr("")
    """Password, unless the URL holds one."""
    mail_from: str = f"noreply{NOBODY}"
    """Sender of every mail: noreply@example.com, or Example <noreply@example.com>."""
    mail_tls_ca: Path | None = None
    """File with the certificates to trust, for a server with a private authority."""
    mail_plain_ok: bool = False
    """Whether a deployed service may use ?tls=none, such as for a relay beside it."""
    mail_timeout: Seconds = Field(default=30.0, gt=0)
    """How long handing one mail to the server may take, connecting included."""
    mail_connections: Count = Field(default=5, ge=1)
    """Mails one process hands over at the same time, each on a connection of its own."""
    mail_max_size: Bytes = Field(default=10_485_760, ge=1024)
    """Largest mail, as it is sent: attachments take four thirds of their size."""
    mail_health_interval: Seconds = Field(default=60.0, ge=0)
    """How long the health check believes what it has found: servers dislike many logins."""

    @field_validator("mail_from")
    @classmethod
    def _is_mailbox(cls, value: str) -> str:
        parse_mailbox(value)
        return value

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
            self.mail_url.get_secret_value(),
            username=self.mail_username,
            password=self.mail_password.get_secret_value() or None,
        )

    def weaknesses(self) -> Iterable[Weakness]:
        """Mails that reach nobody, that anybody can read, or that come from nobody."""
        address = self.address
        if isinstance(address, FolderAddress):
            yield Weakness(
                "MAIL_URL",
                "mails are written to files and reach nobody",
                "MAIL_URL=smtps://user:password@mail.example.com",
            )
        elif address.security is Security.NONE and not self.mail_plain_ok:
            yield Weakness(
                "MAIL_URL",
                "mails and the password travel without TLS",
                "MAIL_URL=smtps://…, or MAIL_PLAIN_OK=true for a relay beside the service",
            )
        if parse_mailbox(self.mail_from).domain == NOBODY[1:]:
            yield Weakness(
                "MAIL_FROM",
                "servers refuse mails from localhost",
                "MAIL_FROM=noreply@your-domain.example",
            )
