"""A running service whose calls can be deferred, on each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from dishka import Provider, Scope

from app.infrastructure.deferred import Deferrable, Tasks
from app.infrastructure.deferred.module import module
from app.infrastructure.queue.testing import JobService, StartJobs
from tests.infrastructure.deferred.services import OUTBOX, EmailService, Ledger, Speaker, Visits

PATIENCE = 20.0


@dataclass
class DeferredService:
    """A running service."""

    tasks: Tasks
    jobs: JobService
    ledger: Ledger


Start = Callable[..., AbstractAsyncContextManager[DeferredService]]


@pytest.fixture
def start(job_service: StartJobs) -> Start:
    """What starts a service with the deferrable classes of the tests."""

    @asynccontextmanager
    async def started(*contributes: object, **options: Any) -> AsyncIterator[DeferredService]:
        provider = Provider(scope=Scope.REQUEST)
        provider.provide(EmailService)
        provider.provide(lambda: ledger, provides=Ledger)
        provider.provide(Visits)
        provider.provide(Speaker)
        ledger = Ledger()
        listed = (
            Deferrable(EmailService),
            Deferrable(Ledger, name="Book", aliases=("OldBook",)),
            Deferrable(Visits),
        )
        own = options.pop("listed", listed)
        async with job_service(
            (*own, *contributes), modules=(module,), providers=(provider,), **options
        ) as jobs:
            yield DeferredService(await jobs.container.get(Tasks), jobs, ledger)

    return started


@pytest.fixture(autouse=True)
def outbox() -> list[dict[str, Any]]:
    """What the tests' mails are put into, empty."""
    OUTBOX.clear()
    return OUTBOX
