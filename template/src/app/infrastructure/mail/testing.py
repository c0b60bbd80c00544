"""Fixtures for tests of code that sends mail: no test sends one, or writes one to `var/mail`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage

import pytest
from dishka import Provider, Scope

from app.infrastructure.mail.errors import MailError
from app.infrastructure.mail.transport import Envelope, MailTransport


@dataclass
class Mailbox:
    """What was sent while the test ran, in order."""

    envelopes: list[Envelope] = field(default_factory=list)
    """With all recipients, `Bcc` included."""
    failure: MailError | None = None
    """Set it to have sending fail: `mailbox.failure = MailUnavailableError()`."""

    def __len__(self) -> int:
        """Return how many mails there are."""
        return len(self.envelopes)

    def __iter__(self) -> Iterator[EmailMessage]:
        """Yield the messages."""
        return (envelope.message for envelope in self.envelopes)

    @property
    def last(self) -> EmailMessage:
        """The newest message: `mailbox.last["Subject"]`, `mailbox.text()`."""
        assert self.envelopes, "no mail was sent"  # noqa: S101 - a test asks
        return self.envelopes[-1].message

    def to(self, address: str) -> list[EmailMessage]:
        """Return the messages somebody got."""
        return [item.message for item in self.envelopes if address in item.recipients]

    def text(self) -> str:
        """Return the text of the newest message."""
        return self._body("plain")

    def html(self) -> str:
        """Return the HTML of the newest message; empty, where it has none."""
        return self._body("html")

    def _body(self, kind: str) -> str:
        part = self.last.get_body((kind,))
        return str(part.get_content()).replace("\r\n", "\n") if part else ""

    async def send(self, envelope: Envelope) -> None:
        """See `MailTransport.send`: keep it."""
        if self.failure:
            raise self.failure
        self.envelopes.append(envelope)

    async def check(self) -> Mapping[str, object]:
        """See `MailTransport.check`."""
        return {"transport": "tests"}


@pytest.fixture
def mailbox() -> Mailbox:
    """What the service sends: `mailbox.last`, `mailbox.to("ada@example.com")`, `len(mailbox)`."""
    return Mailbox()


@pytest.fixture
def override_mail(mailbox: Mailbox) -> Provider:
    """Puts every mail into `mailbox`."""
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: mailbox, provides=MailTransport, override=True)
    return provider
