"""Mails as files: for development. Each `.eml` opens in a mail program."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from app.infrastructure.mail.errors import MailUnavailableError
from app.infrastructure.mail.transport import Envelope

UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
ENVELOPE = "X-Envelope-To"
"""Header that names everybody a file's mail went to, `Bcc` included."""


class FileTransport:
    """Writes each mail to a file that is named after it: one that is sent again replaces it."""

    def __init__(self, folder: Path) -> None:
        """Write to `folder`; it is made when the first mail is."""
        self._folder = folder

    async def send(self, envelope: Envelope) -> None:
        """See `MailTransport.send`. Whoever reads the folder sees whole mails only."""
        try:
            await asyncio.to_thread(self._write, envelope)
        except OSError as error:
            raise self._unavailable(error) from error

    async def check(self) -> Mapping[str, object]:
        """See `MailTransport.check`."""
        try:
            await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK):
                raise PermissionError
        except OSError as error:
            raise self._unavailable(error) from error
        return {"transport": "files"}

    def _write(self, envelope: Envelope) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = UNSAFE.sub("_", envelope.message_id.strip("<>").partition("@")[0])
        header = f"{ENVELOPE}: {', '.join(envelope.recipients)}\r\n".encode()
        # Not `.eml` yet, and where renaming is one step.
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(header + bytes(envelope.message))
            Path(temporary).replace(self._folder / f"{name}.eml")
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _unavailable(self, error: OSError) -> MailUnavailableError:
        message = f"the folder of MAIL_URL can't be written to ({type(error).__name__})"
        return MailUnavailableError(message)
