"""What a mail says, and the message (RFC 5322) that is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from app.infrastructure.mail.errors import InvalidMailError
from app.infrastructure.mail.mailbox import is_plain

MEDIA_TYPE = re.compile(r"(?!message/|multipart/)[a-z]+/[a-z0-9][a-z0-9.+-]*")
"""RFC 6838 §4.2. The others hold messages of their own, which need another way of writing."""
NAME_LINE = 72
"""Characters of an encoded name: with `Cc: ` before it, no more than `email` has in a line."""
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
            InvalidMailError: the name is empty, or has line breaks or encoded words; or the type
                is none.
        """
        if not self.name.strip() or not is_plain(self.name) or {"/", "\\"} & set(self.name):
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
        """Refuse what would be more than one header.

        Raises:
            InvalidMailError: the subject is empty or too long, or it or the language has line
                breaks or encoded words.
        """
        if not self.subject or len(self.subject) > LONGEST_LINE or not is_plain(self.subject):
            message = f"a subject is one line of 1 to {LONGEST_LINE} characters, none of it encoded"
            raise InvalidMailError(message)
        if self.locale and not is_plain(self.locale):
            message = "a language is a tag such as de-AT"
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
    for name, addresses in (("To", letter.to), ("Cc", letter.cc)):
        if addresses:
            message.set_raw(name, ",\r\n ".join(map(_written, addresses)))
    message.set_content(content.text)
    if content.html is not None:
        message.add_alternative(content.html, subtype="html")
    for item in letter.attachments:
        kind, _, subtype = item.media_type.partition("/")
        message.add_attachment(item.content, maintype=kind, subtype=subtype, filename=item.name)
    if content.locale:  # last: the parts would take it with them
        message["Content-Language"] = content.locale
    return message


def _written(address: Address) -> str:
    """Return an address of a list, in lines that are short enough for `email` to leave as they are.

    Where it breaks one, it may encode the comma after a name, and two addresses are none
    (CVE-2025-1795; Python 3.11.7 has it).
    """
    name, at, place = str(address).rpartition("<")
    if not address.display_name.isascii() or len(name) > NAME_LINE:
        name = Header(address.display_name, "utf-8", NAME_LINE).encode(linesep="\r\n")
    return f"{name.rstrip()}\r\n {at}{place}" if at else place


def _headers(letter: Letter, content: Content, stamp: Stamp) -> Iterator[tuple[str, object]]:
    yield "From", stamp.sender
    if letter.reply_to:
        yield "Reply-To", letter.reply_to
    yield "Subject", content.subject
    yield "Date", format_datetime(stamp.date)
    yield "Message-ID", stamp.message_id
    # Answering machines leave such mails alone (RFC 3834 §5).
    yield "Auto-Submitted", "auto-generated"
