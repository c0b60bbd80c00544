"""The queue of a generated service, with all its guarantees on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import cast

from app.core.container import build_container
from app.core.discovery import Registry
from app.core.lifecycle import Lifecycle
from app.core.module import Module
from app.core.settings import AppSettings, ModuleSettings, SettingsBundle
from app.infrastructure.logger import configure_logging
from app.infrastructure.queue import JobHandle, JobQueue, job
from app.infrastructure.queue.module import module as queue_module
from app.infrastructure.queue.rabbitmq.settings import RabbitmqSettings
from app.infrastructure.queue.settings import AppRole, QueueSettings
from app.infrastructure.queue.worker import Worker
from app.infrastructure.redis.module import module as redis_module
from app.infrastructure.redis.settings import RedisSettings
from dishka import AsyncContainer
from pydantic import SecretStr
from redis.asyncio import Redis

from benchmarks.queue_sides.common import Asked, Handle, main

HANDLE: list[Handle] = []
"""What the measurement wants to be called, last."""


@job("measured")
async def measured(value: float) -> None:
    """Do what the measurement wants."""
    HANDLE[-1](value)


class Plinth:
    """See `Side`."""

    modules: tuple[Module, ...] = (
        Module(name="probe", summary="measured", requires=("queue",), contributes=(measured,)),
    )
    """Beside Redis and the queue."""

    def __init__(self, asked: Asked) -> None:
        """Prepare."""
        self._stack = AsyncExitStack()
        self._asked = asked
        self.container: AsyncContainer
        self._jobs: JobQueue

    async def start(self, concurrency: int = 10) -> Worker:
        """Start the modules."""
        settings: dict[type[ModuleSettings], ModuleSettings] = {
            AppSettings: AppSettings(app_name=self._asked.prefix),
            RedisSettings: RedisSettings(
                redis_url=SecretStr(f"redis://127.0.0.1:{self._asked.port}")
            ),
            QueueSettings: QueueSettings(
                app_role=AppRole.API,
                worker_concurrency=concurrency,
                queue_engine="rabbitmq" if self._asked.broker else "bullmq",
            ),
        }
        if self._asked.broker:
            broker = SecretStr(self._asked.broker)
            settings[RabbitmqSettings] = RabbitmqSettings(rabbitmq_url=broker)
        more = (kind for module in self.modules for kind in module.settings_classes)
        settings |= {kind: kind() for kind in more}
        registry = Registry((redis_module, queue_module, *self.modules))
        bundle = SettingsBundle(settings)
        self.container = build_container(registry, bundle)
        await self._stack.enter_async_context(Lifecycle(registry, bundle, self.container))
        self._jobs = await self.container.get(JobQueue)
        return await self.container.get(Worker)

    def redis(self) -> Redis:
        """Return a client of the Redis it uses, to look at it."""
        return Redis(port=self._asked.port)

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        return await self._jobs.publish(measured, value)

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`."""
        jobs = self._jobs
        await jobs.publish_many([jobs.prepare(measured, value) for value in values])

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""
        HANDLE.append(handle)
        worker = await self.start(concurrency)
        await worker.start()

    async def result(self, published: object) -> None:
        """See `Side.result`."""
        await cast("JobHandle[None]", published).result(timeout=10)

    async def stop(self) -> None:
        """See `Side.stop`."""
        await self._stack.aclose()


def maker(kind: type[Plinth]) -> Callable[[Asked], Awaitable[Plinth]]:
    """Return what makes one of a kind, started."""

    async def make(asked: Asked) -> Plinth:
        configure_logging()
        side = kind(asked)
        await side.start()
        return side

    return make


if __name__ == "__main__":
    main(maker(Plinth))
