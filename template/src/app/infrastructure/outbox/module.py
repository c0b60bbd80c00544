"""The outbox module."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dishka import AsyncContainer, Provider, Scope
from pydantic import TypeAdapter
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import Clock
from app.core.errors import AppError
from app.core.events import Envelope, EventDetour
from app.core.health import HealthCheck, HealthReport, HealthStatus
from app.core.module import Module
from app.core.settings import AppSettings
from app.infrastructure.database import Database, current_session
from app.infrastructure.deferred.ports import Detour, OnceOnly
from app.infrastructure.outbox import store
from app.infrastructure.outbox.inbox import once
from app.infrastructure.outbox.outbox import Outbox
from app.infrastructure.outbox.relay import Relay
from app.infrastructure.outbox.settings import OutboxSettings
from app.infrastructure.queue import Job
from app.infrastructure.queue.settings import AppRole, QueueSettings

ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)

provider = Provider(scope=Scope.APP)
provider.provide(Outbox)
provider.provide(Relay)


async def ready(container: AsyncContainer) -> None:
    """Begin to look for what was left behind, in workers: whoever takes it has started."""
    is_worker = (await container.get(QueueSettings)).app_role is not AppRole.API
    if is_worker and (await container.get(AppSettings)).app_side_work:
        (await container.get(Relay)).start()


async def drain(container: AsyncContainer) -> None:
    """End, while there is still somebody who could take it."""
    await (await container.get(Relay)).stop()


async def check(container: AsyncContainer) -> HealthReport:
    """Complain when jobs are left unpublished for long, or are dead."""
    try:
        async with (await container.get(Database)).unit_of_work() as session:
            found = await store.lag(session)
    except (SQLAlchemyError, AppError) as error:  # the database's own check says more
        return HealthReport(HealthStatus.DOWN, {"error": type(error).__name__})
    now = (await container.get(Clock)).now()
    seconds = (now - found.oldest).total_seconds() if found.oldest else 0.0
    late = seconds > (await container.get(OutboxSettings)).outbox_lag
    status = HealthStatus.DEGRADED if late or found.dead else HealthStatus.UP
    return HealthReport(
        status, {"pending": found.pending, "lag": round(seconds, 1), "dead": found.dead}
    )


async def take(container: AsyncContainer, jobs: Sequence[Job]) -> bool:
    """Take deferred calls into the running unit of work, if there is one."""
    if current_session() is None:
        return False
    (await container.get(Outbox)).add(*jobs)
    return True


async def take_events(container: AsyncContainer, envelopes: Sequence[Envelope]) -> bool:
    """Take events into the running unit of work, if there is one."""
    if current_session() is None:
        return False
    (await container.get(Outbox)).add_events(*envelopes)
    return True


async def call_once(scope: AsyncContainer, key: str, make: Callable[[], Awaitable[Any]]) -> Any:
    """Make a deferred call once for its key, in the job's own unit of work."""
    session = await scope.get(AsyncSession)
    return await once(session, f"deferred:{key}", make, ANYTHING)


module = Module(
    name="outbox",
    summary="Jobs and events committed with the rows they belong to; effects that happen once",
    requires=("database", "queue", "deferred"),
    settings=OutboxSettings,
    providers=(provider,),
    ready=ready,
    drain=drain,
    health_checks=(HealthCheck(name="outbox", check=check, critical=False),),
    contributes=(Detour(take), EventDetour(take_events), OnceOnly(call_once)),
)
