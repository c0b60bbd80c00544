"""What follows when somebody has registered."""

from __future__ import annotations

from datetime import timedelta

from app.infrastructure.deferred import Tasks
from app.infrastructure.event_bus import on
from app.infrastructure.mail import EmailService
from app.infrastructure.queue import Backoff
from app.modules.users.events import UserRegistered
from app.modules.users.repository import UserRepository

ATTEMPTS = 8
FIRST_PAUSE = timedelta(seconds=30)
"""Doubled each time, an hour in all: servers that greylist want to be asked again in minutes."""


@on("user.registered")
async def welcome(event: UserRegistered, users: UserRepository, tasks: Tasks) -> None:
    """Have the welcome mail sent by a worker.

    The event carries the id alone, so that no personal data is on the bus. It may come more than
    once, and so may the job: the key makes one mail of all of them.
    """
    user = await users.find(event.user_id)
    if user is None:  # deleted meanwhile
        return
    address, name, key = user.email, user.name, f"welcome:{user.id}"
    await tasks.run_later(
        lambda run: [
            run(EmailService).to(address).template("welcome").key(key).send({"name": name})
        ],
        idempotency=key,
        attempts=ATTEMPTS,
        backoff=Backoff(first=FIRST_PAUSE),
    )
