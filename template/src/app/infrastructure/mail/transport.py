"""The port: what takes mails away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message and who gets it."""

    message: EmailMessage
    sender: str
    recipients: tuple[str, ...]
    """Those of `To`, `Cc` and `Bcc`; the last are in no header."""

    @property
    def message_id(self) -> str:
        """Names the mail; the same for one that is sent again."""
        return str(self.message["Message-ID"])


class MailTransport(Protocol):
    """Takes mails away."""

    async def send(self, envelope: Envelope) -> None:
        """Take a mail.

        Raises:
            MailUnavailableError: not now; another try may help.
            MailRefusedError: never.
        """
        ...

    async def check(self) -> Mapping[str, object]:
        """Look whether mails would be taken; return what is worth knowing, no secrets.

        Raises:
            MailUnavailableError: they would not.
        """
        ...
