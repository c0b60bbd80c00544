"""A mail that is being written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from app.core.deferring import chainable
from app.infrastructure.logger import current_context
from app.infrastructure.mail.errors import InvalidMailError
from app.infrastructure.mail.letter import Attachment, Content, Letter
from app.infrastructure.mail.mailbox import parse_mailbox
from app.infrastructure.mail.post import Post

LONGEST_KEY = 200
"""Characters."""


@chainable
class EmailDraft:
    """A mail that is being written, begun by `EmailService.to`.

    Each method returns another draft and leaves this one as it is. All of them can be called later:
    `run(EmailService).to("ada@example.com").template("welcome").send({"name": "Ada"})`.
    """

    def __init__(self, post: Post, letter: Letter) -> None:
        """Write `letter`, to be sent by `post`."""
        self._post = post
        self._letter = letter

    def cc(self, *addresses: str) -> Self:
        """Send it to these as well, for all to see.

        Raises:
            InvalidMailError: one of them is no address.
        """
        return self._with(cc=(*self._letter.cc, *map(parse_mailbox, addresses)))

    def bcc(self, *addresses: str) -> Self:
        """Send it to these as well; nobody sees that.

        Raises:
            InvalidMailError: one of them is no address.
        """
        return self._with(bcc=(*self._letter.bcc, *map(parse_mailbox, addresses)))

    def reply_to(self, address: str) -> Self:
        """Have answers go there instead of to `MAIL_FROM`.

        Raises:
            InvalidMailError: it is no address.
        """
        return self._with(reply_to=parse_mailbox(address))

    def subject(self, text: str) -> Self:
        """Set the subject, also in place of a template's own."""
        return self._with(subject=text)

    def template(self, name: str) -> Self:
        """Write it with a template of some module: `app mail templates` lists them."""
        return self._with(template=name)

    def locale(self, tag: str) -> Self:
        """Write it in this language (BCP 47) instead of the caller's."""
        return self._with(locale=tag)

    def attach(
        self, name: str, content: bytes, media_type: str = "application/octet-stream"
    ) -> Self:
        """Attach a file. Keep it small: the mail has `MAIL_MAX_SIZE`, a deferred call 256 KiB.

        Raises:
            InvalidMailError: the name or the media type can't be written.
        """
        attachment = Attachment(name, content, media_type)
        return self._with(attachments=(*self._letter.attachments, attachment))

    def key(self, key: str) -> Self:
        """Name the mail: what is sent under one key is one mail, with one Message-ID.

        Raises:
            InvalidMailError: the key is empty or too long.
        """
        if not 0 < len(key) <= LONGEST_KEY:
            message = f"the key of a mail has 1 to {LONGEST_KEY} characters"
            raise InvalidMailError(message)
        return self._with(key=key)

    async def send(self, values: Mapping[str, Any] | None = None) -> str:
        """Fill in the template and send the mail; return its Message-ID.

        Args:
            values: what the template names.

        Raises:
            InvalidMailError: no template was named, or the mail can't be sent as it is.
            MailTemplateError: there is no such template, or a value is missing.
            MailUnavailableError: the server can't take it now.
            MailRefusedError: the server never will.
        """
        letter = self._letter
        if letter.template is None:
            message = "name a template before send(…), or use send_message(text)"
            raise InvalidMailError(message)
        locale = letter.locale or current_context().locale
        content = self._post.templates.render(letter.template, locale, values or {})
        if letter.subject is not None:
            content = replace(content, subject=letter.subject)
        return await self._post.send(letter, content)

    async def send_message(self, text: str, html: str | None = None) -> str:
        """Send a text, with HTML beside it if there is some; return the Message-ID.

        Raises:
            InvalidMailError: no subject was set, or the mail can't be sent as it is.
            MailUnavailableError: the server can't take it now.
            MailRefusedError: the server never will.
        """
        letter = self._letter
        content = Content(subject=letter.subject or "", text=text, html=html, locale=letter.locale)
        return await self._post.send(letter, content)

    def _with(self, **changes: Any) -> Self:
        return type(self)(self._post, replace(self._letter, **changes))
