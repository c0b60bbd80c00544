"""The fixtures for tests of user code, as user code uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from dishka import AsyncContainer, FromDishka, Provider, Scope
from fastapi import APIRouter, FastAPI
from httpx2 import ASGITransport, AsyncClient

from app.api import create_app
from app.core.discovery import Registry, discover
from app.core.module import Module
from app.core.routing import ScopedRoute
from app.core.settings import load_settings
from app.infrastructure.deferred import Deferrable, InvalidCallError, Tasks
from app.infrastructure.deferred.testing import RecordedCalls, RunJobs
from app.infrastructure.queue import JobTimeoutError
from tests.infrastructure.deferred.services import EmailService, Ledger, Visits

router = APIRouter(route_class=ScopedRoute)


@router.post("/welcome")
async def welcome(address: str, tasks: FromDishka[Tasks]) -> str:
    jobs = await tasks.run_later(
        lambda run: [
            run(EmailService).to(address).template("welcome").print(),
            run(Visits).visit().count(),
        ],
        attempts=2,
    )
    return jobs[0].id


def new_ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def app(overrides: list[Provider]) -> AsyncIterator[FastAPI]:
    """The service with a module that defers."""
    provider = Provider(scope=Scope.REQUEST)
    provider.provide(EmailService)
    provider.provide(Visits)
    provider.provide(new_ledger, provides=Ledger)
    probe = Module(
        name="probe",
        summary="Defers",
        requires=("deferred",),
        providers=(provider,),
        routers=(router,),
        # The service may have an `EmailService` of its own.
        contributes=(Deferrable(EmailService, name="Post"), Deferrable(Visits), Deferrable(Ledger)),
    )
    registry = Registry((*discover().modules, probe))
    settings = load_settings(registry.modules)
    application = create_app(registry=registry, settings=settings, overrides=overrides)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client of it."""
    transport = ASGITransport(app=app)
    async with AsyncClient(transport=transport, base_url="http://test") as http:
        yield http


async def test_calls_are_recorded(deferred: RecordedCalls, client: AsyncClient) -> None:
    await client.post("/welcome", params={"address": "ada@example.com"})

    assert deferred.calls == deferred.written(
        lambda run: [
            run(EmailService).to("ada@example.com").template("welcome").print(),
            run(Visits).visit().count(),
        ]
    )
    assert deferred.calls[0].options == {"attempts": 2}
    assert deferred.calls != deferred.written(lambda run: run(Visits).visit().count())


async def test_a_recorded_call_has_no_result(
    deferred: RecordedCalls, container: AsyncContainer
) -> None:
    tasks = await container.get(Tasks)
    (job,) = await tasks.run_later(lambda run: run(Visits).visit())

    assert len(deferred.calls) == 1
    with pytest.raises(JobTimeoutError, match="deferred_inline"):
        await job.result(timeout=1)
    with pytest.raises(InvalidCallError):
        await tasks.run_later(lambda run: run(Visits).nothing())  # type: ignore[attr-defined]  # the mistake


@pytest.mark.usefixtures("deferred_inline")
async def test_calls_are_made_in_place(container: AsyncContainer) -> None:
    tasks = await container.get(Tasks)
    jobs = await tasks.run_later(
        lambda run: [run(Visits).visit().visit().count(), run(Visits).visit().count()]
    )

    assert await jobs.results(timeout=0) == [2, 1]
    with pytest.raises(ValueError, match="no ink"):
        await tasks.run_later(lambda run: run(Ledger).fail("no ink"))


async def test_a_real_worker_does_what_waits(
    container: AsyncContainer, run_jobs: RunJobs, outbox: list[dict[str, Any]]
) -> None:
    tasks = await container.get(Tasks)
    for round_number in (1, 2):
        (job,) = await tasks.run_later(lambda run: run(EmailService).to("ada@example.com").send({}))
        await run_jobs()
        assert await job.result(timeout=0) == round_number
    assert len(outbox) == 2
