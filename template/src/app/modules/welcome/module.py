"""The welcome module."""

from __future__ import annotations

from pathlib import Path

from app.core.module import Module
from app.infrastructure.mail import MailTemplates
from app.modules.welcome.handlers import welcome

module = Module(
    name="welcome",
    summary="A welcome mail for each new user: the example of events and deferred calls",
    requires=("users", "mail", "queue", "deferred", "outbox", "event_bus"),
    contributes=(welcome, MailTemplates(Path(__file__).parent / "templates/mail")),
)
