"""`MAIL_URL`, and what production refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from app.infrastructure.mail.address import FolderAddress, Security, SmtpAddress, parse_address
from app.infrastructure.mail.settings import MailSettings
from tests.infrastructure.mail.conftest import mail_settings

STARTTLS, TLS, NONE = Security.STARTTLS, Security.TLS, Security.NONE


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file://var/mail", FolderAddress(Path("var/mail"))),
        ("file:///var/mail", FolderAddress(Path("/var/mail"))),
        ("smtp://mail.example.com", SmtpAddress("mail.example.com", 587, STARTTLS)),
        ("smtp://h:25?tls=starttls", SmtpAddress("h", 25, STARTTLS)),
        ("smtp://h/?tls=none", SmtpAddress("h", 25, NONE)),
        ("smtps://u:p%40ss@h", SmtpAddress("h", 465, TLS, "u", "p@ss")),
        ("smtps://u@x:p@h:99", SmtpAddress("h", 99, TLS, "u@x", "p")),
        ("smtps://[::1]:465", SmtpAddress("::1", 465, TLS)),
    ],
)
def test_an_address_is_read(url: str, expected: object) -> None:
    assert parse_address(url) == expected


def test_name_and_password_may_stand_elsewhere() -> None:
    settings = mail_settings("smtp://h", mail_username="u", mail_password=SecretStr("p"))
    assert settings.address == SmtpAddress("h", 587, STARTTLS, "u", "p")


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com",
        "http://secret@h",
        "smtp://",
        "smtp://u:secret@",
        "smtp://u:secret@h:0",
        "smtp://u:secret@h:99999",
        "smtp://u:secret@h:port",
        "smtp://u:secret@h?tls=maybe",
        "smtp://u:secret@h/path",
        "smtp://u:se cret@h",
        "smtp://:secret@h",
        "smtps://u:secret@h?tls=none",
        "file://",
        "file:///",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValidationError, match="MAIL_") as caught:
        mail_settings(url)
    assert "secret" not in str(caught.value)


def test_an_address_shows_no_password() -> None:
    settings = mail_settings("smtps://user:secret@h")
    assert "secret" not in f"{settings!r} {settings.address!r} {settings.address}"


@pytest.mark.parametrize("sender", ["nobody", "a@b.example, c@d.example", "a@b.example\r\nX: y"])
def test_the_sender_is_one_address(sender: str) -> None:
    with pytest.raises(ValidationError, match="not one mail address"):
        MailSettings(mail_from=sender)


@pytest.mark.parametrize(
    ("url", "more", "refused"),
    [
        ("file://var/mail", {}, ["MAIL_URL"]),
        ("smtp://h?tls=none", {}, ["MAIL_URL"]),
        ("smtp://h?tls=none", {"mail_plain_ok": True}, []),
        ("smtp://h", {}, []),
        ("smtps://h", {"mail_from": "noreply@localhost"}, ["MAIL_FROM"]),
    ],
)
def test_production_refuses_what_is_not_safe(
    url: str, more: dict[str, Any], refused: list[str]
) -> None:
    settings = MailSettings(mail_url=SecretStr(url), **{"mail_from": "a@b.example", **more})
    assert [weakness.variable for weakness in settings.weaknesses()] == refused
