"""What a mail says, and the message (RFC 5322) that is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from app.infrastructure.mail.errors import InvalidMailError

MEDIA_TYPE = re.compile(r"(?!message/|multipart/)[a-z]+/[a-z0-9][a-z0-9.+-]*")
"""RFC 6838 §4.2. The others hold messages of their own, which need another way of writing."""
LONGEST_LINE = 998
"""Characters of a subject; a line of a message has no more (RFC 5322 §2.1.1)."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes along."""

    name: str
    content: bytes
    media_type: str

    def __post_init__(self) -> None:
        """Refuse what can't stand in a header.

        Raises:
            InvalidMailError: the name is empty or has line breaks, or the type is none.
        """
        if not self.name.strip() or not self.name.isprintable() or {"/", "\\"} & set(self.name):
            message = "an attachment has the name of a file, without folders or line breaks"
            raise InvalidMailError(message)
        if not MEDIA_TYPE.fullmatch(self.media_type):
            message = f"an attachment has a media type such as application/pdf: {self.name!r}"
            raise InvalidMailError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """To whom a mail goes, and what is known of it before it is written."""

    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: Address | None = None
    subject: str | None = None
    template: str | None = None
    locale: str | None = None
    attachments: tuple[Attachment, ...] = ()
    key: str | None = None
    """Two mails of one key are one mail: they have the same Message-ID."""

    @property
    def recipients(self) -> tuple[str, ...]:
        """Every address it goes to, once."""
        everybody = (*self.to, *self.cc, *self.bcc)
        return tuple(dict.fromkeys(address.addr_spec for address in everybody))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a mail says."""

    subject: str
    text: str
    html: str | None = None
    locale: str | None = None
    """Of the template it was made from."""

    def __post_init__(self) -> None:
        """Refuse a subject that would be more than one header.

        Raises:
            InvalidMailError: it is empty, too long, or has line breaks.
        """
        if not self.subject or len(self.subject) > LONGEST_LINE or not self.subject.isprintable():
            message = f"a subject is one line of 1 to {LONGEST_LINE} characters"
            raise InvalidMailError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What every mail carries besides."""

    sender: Address
    message_id: str
    date: datetime


def to_message(letter: Letter, content: Content, stamp: Stamp) -> EmailMessage:
    """Return the message: text, HTML beside it if there is one, attachments.

    Bcc is not in it: who else gets a mail is known to the envelope alone.
    """
    message = EmailMessage(policy=SMTP)
    for name, value in _headers(letter, content, stamp):
        message[name] = value
    message.set_content(content.text)
    if content.html is not None:
        message.add_alternative(content.html, subtype="html")
    for item in letter.attachments:
        kind, _, subtype = item.media_type.partition("/")
        message.add_attachment(item.content, maintype=kind, subtype=subtype, filename=item.name)
    if content.locale:  # last: the parts would take it with them
        message["Content-Language"] = content.locale
    return message


def _headers(letter: Letter, content: Content, stamp: Stamp) -> Iterator[tuple[str, object]]:
    yield "From", stamp.sender
    if letter.to:
        yield "To", letter.to
    if letter.cc:
        yield "Cc", letter.cc
    if letter.reply_to:
        yield "Reply-To", letter.reply_to
    yield "Subject", content.subject
    yield "Date", format_datetime(stamp.date)
    yield "Message-ID", stamp.message_id
    # Answering machines leave such mails alone (RFC 3834 §5).
    yield "Auto-Submitted", "auto-generated"
