"""A registration brings one mail."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from dishka import AsyncContainer
from httpx2 import AsyncClient
from pydantic import SecretStr

from app.infrastructure.database import Database
from app.infrastructure.deferred import Tasks
from app.infrastructure.deferred.testing import RecordedCalls, RunJobs
from app.infrastructure.logger import bind_context
from app.infrastructure.mail import EmailService, MailUnavailableError
from app.infrastructure.mail.testing import Mailbox
from app.modules.users.events import UserRegistered
from app.modules.users.repository import UserRepository
from app.modules.users.schemas import UserCreate
from app.modules.users.service import UserService
from app.modules.welcome.handlers import welcome

ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}


async def register(client: AsyncClient) -> UUID:
    answer = await client.post("/users", json=ADA)
    assert answer.status_code == 201, answer.text
    return UUID(answer.json()["id"])


async def handle(container: AsyncContainer, user_id: UUID) -> None:
    """Handle the event as the bus does, once more."""
    async with container() as scope:
        users, tasks = await scope.get(UserRepository), await scope.get(Tasks)
        await welcome(UserRegistered(user_id=user_id), users, tasks)


@pytest.mark.usefixtures("real_commits")
async def test_a_registration_brings_one_mail(
    client: AsyncClient, container: AsyncContainer, mailbox: Mailbox, run_jobs: RunJobs
) -> None:
    """However often the event comes, before or after the mail was sent."""
    user_id = await register(client)
    await handle(container, user_id)
    await run_jobs()
    await handle(container, user_id)
    await run_jobs()

    assert len(mailbox) == 1
    assert [message["Subject"] for message in mailbox.to(ADA["email"])] == ["Welcome, Ada"]
    assert mailbox.text().startswith("Hello Ada,")
    assert "<p>Hello Ada,</p>" in mailbox.html()


@pytest.mark.usefixtures("real_commits")
async def test_a_registration_that_is_rolled_back_brings_none(
    container: AsyncContainer, test_database: Database, mailbox: Mailbox, run_jobs: RunJobs
) -> None:
    async def fail() -> None:
        async with container() as scope:
            data = UserCreate(name="Ada", email=ADA["email"], password=SecretStr(ADA["password"]))
            await (await scope.get(UserService)).create(data)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await run_jobs()

    assert len(mailbox) == 0
    async with test_database.unit_of_work() as session:
        assert await UserRepository(session).count() == 0


async def test_what_is_deferred_is_the_call_that_would_be_written(
    client: AsyncClient, container: AsyncContainer, deferred: RecordedCalls
) -> None:
    user_id = await register(client)
    deferred.calls.clear()  # whether the event was handled already is not the question
    await handle(container, user_id)

    assert deferred.calls == deferred.written(
        lambda run: (
            run(EmailService)
            .to(ADA["email"])
            .template("welcome")
            .key(f"welcome:{user_id}")
            .send({"name": "Ada"})
        )
    )
    assert deferred.calls[0].options.get("idempotency") == f"welcome:{user_id}"


@pytest.mark.parametrize(
    ("locale", "subject"), [("de-CH", "Willkommen, Ada"), ("fr", "Welcome, Ada")]
)
@pytest.mark.usefixtures("real_commits")
async def test_the_mail_is_in_the_language_of_who_registers(
    container: AsyncContainer, mailbox: Mailbox, run_jobs: RunJobs, locale: str, subject: str
) -> None:
    """It travels with the event, and with the job."""
    with bind_context(locale=locale):
        async with container() as scope:
            data = UserCreate(name="Ada", email=ADA["email"], password=SecretStr(ADA["password"]))
            await (await scope.get(UserService)).create(data)
    await run_jobs()
    assert [message["Subject"] for message in mailbox] == [subject]


async def test_who_is_gone_gets_none(container: AsyncContainer, deferred: RecordedCalls) -> None:
    await handle(container, uuid4())
    assert deferred.calls == []


@pytest.mark.usefixtures("real_commits")
async def test_a_mail_server_that_is_away_does_not_keep_anybody_from_registering(
    client: AsyncClient, mailbox: Mailbox, run_jobs: RunJobs
) -> None:
    mailbox.failure = MailUnavailableError()
    await register(client)
    await run_jobs()
    assert (await client.get("/users")).json()["items"][0]["email"] == ADA["email"]
