"""The office every mail goes through: sender, date, Message-ID, size, transport."""

from __future__ import annotations

from hashlib import sha256

from loguru import logger

from app.core.clock import Clock
from app.core.ids import IdFactory
from app.core.settings import AppSettings
from app.infrastructure.logger import current_context
from app.infrastructure.mail.errors import InvalidMailError
from app.infrastructure.mail.letter import Content, Letter, Stamp, to_message
from app.infrastructure.mail.mailbox import parse_mailbox
from app.infrastructure.mail.settings import MailSettings
from app.infrastructure.mail.templates import Templates
from app.infrastructure.mail.transport import Envelope, MailTransport

MOST_RECIPIENTS = 100
"""Of one mail: what every server takes (RFC 5321 §4.5.3.1.8)."""


class Post:
    """Makes messages of letters, and hands them to the transport."""

    def __init__(  # noqa: PLR0913, PLR0917 - what the container puts together
        self,
        templates: Templates,
        transport: MailTransport,
        settings: MailSettings,
        app: AppSettings,
        clock: Clock,
        ids: IdFactory,
    ) -> None:
        """Send with `transport`."""
        self.templates = templates
        self._transport = transport
        self._largest = settings.mail_max_size
        self._sender = parse_mailbox(settings.mail_from)
        self._name = app.app_name
        self._clock = clock
        self._ids = ids

    async def send(self, letter: Letter, content: Content) -> str:
        """Send a mail; return its Message-ID.

        Raises:
            InvalidMailError: it has no recipient, too many of them, or is too large.
            MailUnavailableError, MailRefusedError: see `MailTransport.send`.
        """
        recipients = letter.recipients
        if not 0 < len(recipients) <= MOST_RECIPIENTS:
            message = (
                f"a mail has 1 to {MOST_RECIPIENTS} recipients, this one has {len(recipients)}"
            )
            raise InvalidMailError(message)
        message_id = self._message_id(letter, content)
        stamp = Stamp(sender=self._sender, message_id=message_id, date=self._clock.now())
        composed = to_message(letter, content, stamp)
        if (size := len(bytes(composed))) > self._largest:
            message = f"the mail has {size} bytes, MAIL_MAX_SIZE allows {self._largest}"
            raise InvalidMailError(message)
        await self._transport.send(Envelope(composed, self._sender.addr_spec, recipients))
        logger.bind(message_id=message_id, template=letter.template).info(
            "Mail sent to {} recipients", len(recipients)
        )
        return message_id

    def _message_id(self, letter: Letter, content: Content) -> str:
        """Return the Message-ID (RFC 5322 §3.6.4), the same for a mail that is sent again.

        By the letter's key; else, in a job, by the job and what is sent to whom: another attempt
        sends the same mail. Outside of one every mail is another.
        """
        if letter.key is not None:
            name = f"key:{letter.key}"
        elif work := current_context().work_id:
            attached = [(item.name, sha256(item.content).digest()) for item in letter.attachments]
            said = (letter.recipients, content.subject, content.text, attached)
            name = f"work:{work}:{said!r}"
        else:
            name = f"id:{self._ids()}"
        digest = sha256(f"{self._name}:{name}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return f"<{digest}@{self._sender.domain}>"
