"""Fixtures for tests of jobs: a running service of the test's own handlers, on each engine."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from dishka import AsyncContainer, Provider, Scope
from redis.asyncio import Redis

from app.core.container import build_container
from app.core.discovery import Registry
from app.core.lifecycle import Lifecycle
from app.core.module import Module
from app.core.settings import AppSettings, ModuleSettings, SettingsBundle
from app.infrastructure.queue import JobEvent, JobQueue, Observer
from app.infrastructure.queue.admin import JobAdmin
from app.infrastructure.queue.engine import JobEngine
from app.infrastructure.queue.module import module as queue_module
from app.infrastructure.queue.settings import (
    ENGINES,
    FOLDER,
    AppRole,
    QueueSettings,
    engine_settings,
)
from app.infrastructure.queue.worker import Worker
from app.infrastructure.redis.keys import KeySpace
from app.infrastructure.redis.module import module as redis_module
from app.infrastructure.redis.settings import RedisSettings


@pytest.fixture(params=ENGINES)
def queue_engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    name: str = request.param
    return name


def _engine_part(engine: str) -> ModuleType | None:
    """Return the `testing.py` of an engine, if it has one."""
    if (FOLDER / engine / "testing.py").exists():
        return importlib.import_module(f"{__package__}.{engine}.testing")
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what starts the service as a process, where its engine needs a server there is not."""
    part = _engine_part(QueueSettings().queue_engine)
    if part and (reason := part.missing()):
        for item in items:
            if item.get_closest_marker("slow") or item.get_closest_marker("process"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def override_queue() -> Provider:
    """Skip a test that starts the service where its engine needs a server there is not."""
    if part := _engine_part(QueueSettings().queue_engine):
        part.environment()
    return Provider(scope=Scope.APP)


@pytest.fixture
async def engine_environment(
    queue_engine: str, redis: Redis, keys: KeySpace
) -> AsyncIterator[Mapping[str, str]]:
    """What a worker process has to know to use the tests' servers of the engine."""
    part = _engine_part(queue_engine)
    yield {"QUEUE_ENGINE": queue_engine, **(part.environment() if part else {})}
    if part:
        await part.clean(keys.prefix, redis)


@dataclass
class JobService:
    """A running service."""

    jobs: JobQueue
    worker: Worker
    engine: JobEngine
    admin: JobAdmin
    container: AsyncContainer
    events: list[JobEvent] = field(default_factory=list)

    def told(self, kind: type[JobEvent]) -> list[JobEvent]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


StartJobs = Callable[..., AbstractAsyncContextManager[JobService]]


@pytest.fixture
def job_service(
    queue_engine: str,
    engine_environment: Mapping[str, str],  # noqa: ARG001 - skips, and cleans up
    redis_settings: RedisSettings,
    override_redis: Provider,
) -> StartJobs:
    """What starts a service of the test's handlers, for `async with`.

    Settings are changed by keyword: `worker_concurrency=1`. `work=False` starts one that only
    publishes. `modules` come between the queue and the test's own. All services of one test share
    their queues.
    """

    @asynccontextmanager
    async def start(
        contributes: Sequence[object] = (),
        *,
        work: bool = True,
        modules: tuple[Module, ...] = (),
        providers: tuple[Provider, ...] = (),
        **changes: Any,
    ) -> AsyncIterator[JobService]:
        events: list[JobEvent] = []
        probe = Module(
            name="probe",
            summary="What the test brings along",
            requires=("queue", *(module.name for module in modules)),
            providers=providers,
            contributes=(*contributes, Observer(events.append)),
        )
        role = AppRole.WORKER if work else AppRole.API
        options = {
            "app_role": role,
            "queue_engine": queue_engine,
            "queue_lock": 1.5,
            "queue_publish_timeout": 10.0,  # a loaded machine is no broker that is away
            **changes,
        }
        settings: dict[type[ModuleSettings], ModuleSettings] = {
            AppSettings: AppSettings(),
            RedisSettings: redis_settings,
            QueueSettings: QueueSettings(**options),
        }
        part = _engine_part(queue_engine)
        used = part.settings() if part else ()
        more = (kind for module in modules for kind in module.settings_classes)
        settings |= {kind: kind() for kind in (*engine_settings(), *more)}
        settings |= {type(item): item for item in used}
        registry = Registry((redis_module, queue_module, *modules, probe))
        bundle = SettingsBundle(settings)
        container = build_container(registry, bundle, override_redis)
        async with Lifecycle(registry, bundle, container):
            yield JobService(
                jobs=await container.get(JobQueue),
                worker=await container.get(Worker),
                engine=await container.get(JobEngine),
                admin=await container.get(JobAdmin),
                container=container,
                events=events,
            )

    return start
