"""Mail as a part of the service: health, and its commands."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from httpx2 import AsyncClient

from app.core.folders import APP_ROOT
from tests.infrastructure.mail.conftest import Serve


async def app_mail(*words: str, **env: str) -> tuple[int, str]:
    """Run `app mail …` as a user does; return its exit code and what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "mail", *words),
        env={**os.environ, "PYTHONPATH": str(APP_ROOT.parent), "NO_COLOR": "1", **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


async def test_health_names_the_transport(client: AsyncClient) -> None:
    """And a mail server that is away does not take the service out of rotation."""
    check = (await client.get("/health")).json()["checks"]["mail"]
    assert (check["status"], check["critical"]) == ("up", False)
    assert check["details"] == {"transport": "tests"}


async def test_a_test_mail_is_sent_as_the_service_would(serve: Serve) -> None:
    async with serve() as server:
        place = f"127.0.0.1:{server.port}"
        url = f"smtp://{place}?tls=none"
        code, printed = await app_mail("send-test", "Ada <ada@example.com>", MAIL_URL=url)
        assert (code, f"handed to {place} (none), as <" in printed) == (0, True), printed
        assert server.message()["To"] == "Ada <ada@example.com>"


@pytest.mark.parametrize(
    ("address", "why"), [("ada", "not one mail address"), ("a@b.example", "can't be written to")]
)
async def test_a_test_mail_that_fails_says_why(tmp_path: Path, address: str, why: str) -> None:
    """In one message, without a traceback."""
    file = tmp_path / "file"
    file.touch()
    code, printed = await app_mail("send-test", address, MAIL_URL=f"file://{file}")
    assert (code, why in printed, "Traceback" in printed) == (1, True, False), printed


async def test_templates_are_listed() -> None:
    """Whichever modules have some; none is no error."""
    code, printed = await app_mail("templates")
    assert code == 0
    assert printed.strip()
