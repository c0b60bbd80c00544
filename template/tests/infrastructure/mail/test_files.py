"""Mails as files."""

from __future__ import annotations

import asyncio
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from app.infrastructure.mail import MailUnavailableError
from app.infrastructure.mail.files import FileTransport
from tests.infrastructure.mail.conftest import email_service

ADA, EVE = "ada@example.com", "eve@example.com"


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_mail_is_a_file_that_mail_programs_read(tmp_path: Path) -> None:
    folder = tmp_path / "var/mail"
    letters = email_service(FileTransport(folder))
    draft = letters.to(ADA).bcc(EVE).template("hello")
    message_id = await draft.attach("a.bin", b"\x00\r\n.\r\n").send({"name": "Zoë"})

    (path,) = files_in(folder)
    assert path.suffix == ".eml"
    message = message_from_bytes(path.read_bytes(), policy=default)
    assert (message["Message-ID"], message["Subject"]) == (message_id, "Hello Zoë")
    assert message["X-Envelope-To"] == f"{ADA}, {EVE}"
    assert next(message.iter_attachments()).get_content() == b"\x00\r\n.\r\n"


async def test_a_mail_that_is_sent_again_stays_one_file(tmp_path: Path) -> None:
    """Also by many at once, and no half written one is ever there under its name."""
    letters = email_service(FileTransport(tmp_path))
    draft = letters.to(ADA).subject("Tea").key("order:7")
    await asyncio.gather(*(draft.send_message(f"{number}\n" * 10_000) for number in range(20)))
    await letters.to(ADA).subject("Tea").send_message("another")

    found = files_in(tmp_path)
    assert len(found) == 2
    assert {path.suffix for path in found} == {".eml"}
    lines = max(found, key=lambda path: path.stat().st_size).read_text().splitlines()
    assert len(set(lines[-10_000:])) == 1


async def test_a_folder_that_can_not_be_written_is_an_error_to_try_again(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    transport = FileTransport(tmp_path / "file")
    with pytest.raises(MailUnavailableError, match="can't be written to"):
        await email_service(transport).to(ADA).subject("Tea").send_message("-")
    with pytest.raises(MailUnavailableError, match="can't be written to"):
        await transport.check()
    assert await FileTransport(tmp_path / "new").check() == {"transport": "files"}
