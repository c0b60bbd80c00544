"""The queue module."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from itertools import chain
from typing import cast

from dishka import AsyncContainer, Provider, Scope

from app.core.discovery import Registry
from app.core.health import HealthCheck, HealthReport, HealthStatus
from app.core.module import Module
from app.core.settings import AppSettings, SettingsBundle
from app.infrastructure.queue.admin import JobAdmin
from app.infrastructure.queue.engine import JobEngine
from app.infrastructure.queue.events import Events, Observer
from app.infrastructure.queue.executor import Executor
from app.infrastructure.queue.handlers import HandlerRegistry, HandlerSource, JobHandler
from app.infrastructure.queue.ports import EngineParts
from app.infrastructure.queue.queue import JobQueue
from app.infrastructure.queue.router import router
from app.infrastructure.queue.settings import AppRole, QueueSettings, engine_settings
from app.infrastructure.queue.worker import Worker
from app.infrastructure.redis import KeySpace, RedisConnector

STOP_SECONDS = 2.0
"""Of the time a module may take to drain, kept for telling the broker."""


def provide_handlers(registry: Registry) -> HandlerRegistry:
    """Every handler a module contributes, or has made."""
    made = (source.make(registry) for source in registry.contributions(HandlerSource))
    return HandlerRegistry(chain(registry.contributions(JobHandler), *made))


def provide_events(registry: Registry) -> Events:
    """Tells every observer a module contributes."""
    return Events(item.observe for item in registry.contributions(Observer))


def provide_engine(
    settings: QueueSettings,
    all_settings: SettingsBundle,
    keys: KeySpace,
    connector: RedisConnector,
) -> JobEngine:
    """The engine `QUEUE_ENGINE` names; the other ones are not imported."""
    name = f"{__package__}.{settings.queue_engine}.engine"
    build = cast("Callable[[EngineParts], JobEngine]", importlib.import_module(name).build)
    parts = EngineParts(
        settings=settings,
        all_settings=all_settings,
        keys=keys,
        connect=connector.connect,
        multiplex=connector.multiplex,
    )
    return build(parts)


provider = Provider(scope=Scope.APP)
provider.provide(provide_handlers)
provider.provide(provide_events)
provider.provide(provide_engine)
provider.provide(JobQueue)
provider.provide(Executor)
provider.provide(Worker)
provider.provide(JobAdmin)


async def start(container: AsyncContainer) -> None:
    """Connect: jobs can be published from now on."""
    await (await container.get(JobEngine)).start()


async def ready(container: AsyncContainer) -> None:
    """In a worker, or a process that is everything at once, begin to take jobs.

    Not before: a job may need any module.
    """
    if (await container.get(QueueSettings)).app_role is not AppRole.API:
        await (await container.get(Worker)).start()


async def drain(container: AsyncContainer) -> None:
    """Stop taking jobs while all modules are there. `app worker` has given its jobs more time."""
    limit = (await container.get(AppSettings)).app_shutdown_timeout
    grace = (await container.get(QueueSettings)).worker_grace
    await (await container.get(Worker)).stop(min(grace, max(limit - STOP_SECONDS, limit / 2)))


async def stop(container: AsyncContainer) -> None:
    """Disconnect."""
    await (await container.get(JobEngine)).stop()


async def check(container: AsyncContainer) -> HealthReport:
    """Ask the engine for an answer, and the worker whether it still hears of the broker."""
    await (await container.get(JobEngine)).check()
    settings = await container.get(QueueSettings)
    silent = (await container.get(Worker)).silent_queues()
    status = HealthStatus.DOWN if silent else HealthStatus.UP
    return HealthReport(status, {"engine": settings.queue_engine, "silent": silent})


module = Module(
    name="queue",
    summary="Jobs: publish now, do later, lose none",
    requires=("redis",),
    settings=(QueueSettings, *engine_settings()),
    providers=(provider,),
    routers=(router,),
    startup=start,
    ready=ready,
    drain=drain,
    shutdown=stop,
    health_checks=(HealthCheck(name="queue", check=check),),
)
