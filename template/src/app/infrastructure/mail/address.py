"""Read `MAIL_URL`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote

HOST = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:/]+))(?::(?P<port>[0-9]{1,5}))?"
)
MAX_PORT = 65535


class Security(StrEnum):
    """How a connection to the mail server is protected."""

    TLS = "tls"
    """From the first byte (RFC 8314 §3.3), `smtps://`."""
    STARTTLS = "starttls"
    """Before anything is said that matters (RFC 3207); a server that can't is not used."""
    NONE = "none"
    """Not at all: for a server on the same machine."""


PORTS = {Security.TLS: 465, Security.STARTTLS: 587, Security.NONE: 25}
OPTIONS = {
    "": Security.STARTTLS,
    "tls=starttls": Security.STARTTLS,
    "tls=none": Security.NONE,
}
"""What may stand behind the question mark of `smtp://`."""


@dataclass(frozen=True, slots=True)
class FolderAddress:
    """Mails are written to files."""

    folder: Path

    def __str__(self) -> str:
        """Return it for people."""
        return f"files in {self.folder}"


@dataclass(frozen=True, slots=True)
class SmtpAddress:
    """Mails are handed to a server."""

    host: str
    port: int
    security: Security
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        """Return it for people, without name and password."""
        return f"{self.host}:{self.port} ({self.security})"

    def __repr__(self) -> str:
        """Return the same: a traceback must show no password."""
        return f"SmtpAddress({self})"


Address = FolderAddress | SmtpAddress


def parse_address(text: str, username: str | None = None, password: str | None = None) -> Address:
    """Parse a URL; `username` and `password` fill in what it leaves out.

    Raises:
        ValueError: says what is wrong, without repeating the URL: it may hold a password.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in {"smtp", "smtps", "file"}:
        message = "MAIL_URL must start with one of smtp://, smtps://, file://"
        raise ValueError(message)
    if any(character.isspace() or not character.isprintable() for character in rest):
        message = "MAIL_URL has no spaces: percent-encode special characters of a password"
        raise ValueError(message)
    if scheme == "file":
        if not rest.strip("/"):
            message = "MAIL_URL=file:// needs a folder: file://var/mail, or file:///var/spool/app"
            raise ValueError(message)
        return FolderAddress(Path(rest))
    place, _, option = rest.partition("?")
    credentials, _, server = place.rpartition("@")
    security = _security(scheme, option)
    host, port = _host(server.removesuffix("/"), PORTS[security])
    user, _, secret = credentials.partition(":")
    username, password = unquote(user) or username, unquote(secret) or password
    if password and not username:
        message = "MAIL_PASSWORD needs a MAIL_USERNAME, or both in MAIL_URL"
        raise ValueError(message)
    return SmtpAddress(host, port, security, username, password)


def _security(scheme: str, option: str) -> Security:
    if scheme == "smtps" and not option:
        return Security.TLS
    if scheme == "smtps" or option not in OPTIONS:
        message = (
            "MAIL_URL takes ?tls=starttls or ?tls=none after smtp://host:port, and nothing after "
            "smtps://; the other MAIL_ settings are for the rest"
        )
        raise ValueError(message)
    return OPTIONS[option]


def _host(text: str, default_port: int) -> tuple[str, int]:
    found = HOST.fullmatch(text)
    number = (found and found["port"]) or str(default_port)
    if not found or not 0 < int(number) <= MAX_PORT:
        message = "MAIL_URL needs a host: smtp://user:password@mail.example.com:587"
        raise ValueError(message)
    return found["ipv6"] or found["name"], int(number)
