"""What `app mail` does, and what it prints. Needs nothing started but mail itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dishka import AsyncContainer

from app.core.container import build_container
from app.core.discovery import discover
from app.core.errors import ConfigurationError
from app.core.settings import load_settings
from app.infrastructure.mail.errors import MailError
from app.infrastructure.mail.service import EmailService
from app.infrastructure.mail.settings import MailSettings
from app.infrastructure.mail.templates import MailTemplates, Templates

NO_TEMPLATES = "There is none: a module contributes MailTemplates(folder)"
ResultT = TypeVar("ResultT")


def _with_container(use: Callable[[AsyncContainer], Awaitable[ResultT]]) -> ResultT:
    async def run() -> ResultT:
        registry = discover()
        container = build_container(registry, load_settings(registry.modules))
        try:
            return await use(container)
        finally:
            await container.close()

    return asyncio.run(run())


def send_test(address: str) -> str:
    """Send a mail; return where it went.

    Raises:
        ConfigurationError: it could not be sent; says why.
    """

    async def send(container: AsyncContainer) -> str:
        settings = await container.get(MailSettings)
        email = await container.get(EmailService)
        try:
            message_id = await (
                email.to(address)
                .subject("A test mail")
                .send_message("This is a test: mail works as the service is configured.\n")
            )
        except MailError as error:
            message = f"not sent: {error.detail}"
            raise ConfigurationError(message) from error
        return f"handed to {settings.address}, as {message_id}"

    return _with_container(send)


def templates() -> str:
    """Return a line for each template."""
    found = Templates(discover().contributions(MailTemplates))
    return "\n".join(f"{name}  {' '.join(languages)}" for name, languages in found) or NO_TEMPLATES
