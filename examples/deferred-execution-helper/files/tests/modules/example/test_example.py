"""What the request leaves to a worker."""

from __future__ import annotations

import pytest
from httpx2 import AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

from app.infrastructure.deferred.testing import RecordedCalls, RunJobs
from app.infrastructure.mail import EmailService
from app.infrastructure.mail.testing import Mailbox
from app.modules.example.models import User
from app.modules.example.repository import UserChanges, UserRepository

ADDRESS = "test@example.com"


async def test_both_calls_are_recorded(client: AsyncClient, deferred: RecordedCalls) -> None:
    answer = await client.post("/example")

    assert answer.status_code == 202
    assert deferred.calls == deferred.written(
        lambda run: [
            run(UserRepository).update(1, UserChanges(name="New name")),
            run(EmailService).to(ADDRESS).template("renamed").send({"name": "New name"}),
        ]
    )


@pytest.mark.usefixtures("real_commits")
async def test_a_worker_makes_them(
    client: AsyncClient, session: AsyncSession, mailbox: Mailbox, run_jobs: RunJobs
) -> None:
    session.add(User(id=1, name="Old name"))
    await session.commit()

    await client.post("/example", json={"name": "Ada", "email": "ada@example.com"})
    await run_jobs()

    assert (await client.get("/example")).json() == {"id": 1, "name": "Ada"}
    assert [message["Subject"] for message in mailbox.to("ada@example.com")] == ["You are Ada now"]
