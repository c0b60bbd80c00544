"""taskiq: on Redis streams, or on RabbitMQ with its defaults."""

from __future__ import annotations

import asyncio
from typing import Any

from taskiq.receiver import Receiver
from taskiq_aio_pika import AioPikaBroker
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.queue_sides.common import Asked, Handle, main


class Taskiq:
    """See `Side`."""

    def __init__(self, asked: Asked) -> None:
        """Prepare."""
        url = f"redis://127.0.0.1:{asked.port}"
        if asked.broker:
            self._broker: Any = AioPikaBroker(asked.broker, qos=max(asked.concurrency, 10))
        else:
            self._broker = RedisStreamBroker(url, queue_name=asked.prefix).with_result_backend(
                RedisAsyncResultBackend(url)
            )
        self._handle: Handle = lambda _value: None
        self._finish = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

        async def measured(value: float) -> None:
            self._handle(value)

        self._measured = self._broker.register_task(measured, task_name="measured")

    async def start(self) -> None:
        """Connect."""
        await self._broker.startup()

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        return await self._measured.kiq(value)

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`; there is no call for it."""
        await asyncio.gather(*(self.publish(value) for value in values))

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""
        self._handle = handle
        self._broker.is_worker_process = True
        receiver = Receiver(
            self._broker, max_async_tasks=concurrency, run_startup=True, max_prefetch=concurrency
        )
        self._task = asyncio.create_task(receiver.listen(self._finish))

    async def result(self, published: Any) -> None:
        """See `Side.result`."""
        await published.wait_result(check_interval=0.01, timeout=10)

    async def stop(self) -> None:
        """See `Side.stop`."""
        if self._task:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=2)
        await self._broker.shutdown()


async def make(asked: Asked) -> Taskiq:
    """Return it, connected."""
    side = Taskiq(asked)
    await side.start()
    return side


if __name__ == "__main__":
    main(make)
