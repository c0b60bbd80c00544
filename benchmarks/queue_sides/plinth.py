"""The queue of a generated service, with all its guarantees on."""

from __future__ import annotations

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
from pydantic import SecretStr

from benchmarks.queue_sides.common import Asked, Handle, main

_handle: list[Handle] = []


@job("measured")
async def measured(value: float) -> None:
    """Do what the measurement wants."""
    _handle[-1](value)


class Plinth:
    """See `Side`."""

    def __init__(self, asked: Asked) -> None:
        """Prepare."""
        self._stack = AsyncExitStack()
        self._asked = asked
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
        probe = Module(
            name="probe", summary="measured", requires=("queue",), contributes=(measured,)
        )
        registry, bundle = Registry((redis_module, queue_module, probe)), SettingsBundle(settings)
        container = build_container(registry, bundle)
        await self._stack.enter_async_context(Lifecycle(registry, bundle, container))
        self._jobs = await container.get(JobQueue)
        return await container.get(Worker)

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        return await self._jobs.publish(measured, value)

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`."""
        jobs = self._jobs
        await jobs.publish_many([jobs.prepare(measured, value) for value in values])

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""
        _handle.append(handle)
        worker = await self.start(concurrency)
        await worker.start()

    async def result(self, published: object) -> None:
        """See `Side.result`."""
        await cast("JobHandle[None]", published).result(timeout=10)

    async def stop(self) -> None:
        """See `Side.stop`."""
        await self._stack.aclose()


async def make(asked: Asked) -> Plinth:
    """Return it, started."""
    configure_logging()
    side = Plinth(asked)
    await side.start()
    return side


if __name__ == "__main__":
    main(make)
