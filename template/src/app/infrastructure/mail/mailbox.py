"""Addresses of mail, read as strictly as SMTP needs them."""

from __future__ import annotations

import re
from email.errors import MessageError
from email.headerregistry import Address

from app.infrastructure.mail.errors import InvalidMailError

LONGEST = 254
"""Characters; the longest address SMTP can carry (RFC 5321 §4.5.3.1.3)."""
LONGEST_NAME = 200
"""Characters of the name beside it."""
ENCODED = re.compile(r"=\?.*\?=")
"""What `email` takes for an encoded word (RFC 2047)."""
MAILBOX = re.compile(r"(?P<name>[^<>]*)<(?P<inside>[^<>\s]+)>|(?P<bare>[^<>\s]+)")


def is_plain(text: str) -> bool:
    """Tell whether a text can stand in a header: one line, that says what it shows.

    `email` decodes encoded words before it writes a header, and what was in them stands there then:
    line breaks (CVE-2024-6923; Python 3.11.7 has it), quotation marks, commas.
    """
    return text.isprintable() and not ENCODED.search(text)


def parse_mailbox(text: str) -> Address:
    """Return the address of `ada@example.com` or `Ada Lovelace <ada@example.com>`.

    One only: a comma or a line break in it would be a way to more recipients, or to more headers.
    A domain that is not ASCII is written as IDNA, which every server knows; what stands before the
    `@` is ASCII, for all else few servers know how to pass it on (RFC 6531).

    Raises:
        InvalidMailError: it is none. The address is not repeated: errors are logged.
    """
    found = MAILBOX.fullmatch(text.strip()) if is_plain(text) else None
    if found is None:
        raise _invalid()
    name = (found["name"] or "").strip().removeprefix('"').removesuffix('"')
    spec = found["inside"] or found["bare"]
    local, at, domain = spec.rpartition("@")
    if not at or set(local) & set('",;:@()[]\\') or len(name) > LONGEST_NAME:
        raise _invalid()
    try:
        ascii_domain = domain.encode("idna").decode()
        address = Address(display_name=name, addr_spec=f"{local}@{ascii_domain}")
    except (ValueError, MessageError, IndexError):
        raise _invalid() from None
    if len(address.addr_spec) > LONGEST or not address.username or not address.domain:
        raise _invalid()
    return address


def _invalid() -> InvalidMailError:
    message = (
        "not one mail address: write ada@example.com, or Ada <ada@example.com>, and pass several "
        "as several arguments"
    )
    return InvalidMailError(message)
