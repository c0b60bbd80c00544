"""Where a mail begins."""

from __future__ import annotations

from app.infrastructure.mail.draft import EmailDraft
from app.infrastructure.mail.letter import Letter
from app.infrastructure.mail.mailbox import parse_mailbox
from app.infrastructure.mail.post import Post


class EmailService:
    """Sends mails: `await email.to("ada@example.com").template("welcome").send({"name": "Ada"})`.

    It keeps nothing: each mail is a draft of its own.
    """

    def __init__(self, post: Post) -> None:
        """Send with `post`."""
        self._post = post

    def to(self, address: str, *more: str) -> EmailDraft:
        """Begin a mail.

        Args:
            address: `ada@example.com`, or `Ada Lovelace <ada@example.com>`.
            more: further ones; all of them see each other.

        Raises:
            InvalidMailError: one of them is no address.
        """
        return EmailDraft(self._post, Letter(to=tuple(map(parse_mailbox, (address, *more)))))
