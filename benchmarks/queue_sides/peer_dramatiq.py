"""dramatiq, as many threads as jobs at once; on Redis or RabbitMQ with its defaults."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker

from benchmarks.queue_sides.common import PUBLISHERS, Asked, Handle, main


class Dramatiq:
    """See `Side`. Publishing blocks, so that each task has a thread to do it on."""

    def __init__(self, asked: Asked) -> None:
        """Connect."""
        self._broker: Any = (
            RabbitmqBroker(url=asked.broker)
            if asked.broker
            else RedisBroker(url=f"redis://127.0.0.1:{asked.port}", namespace=asked.prefix)
        )
        if asked.broker:
            self._broker.confirm_delivery = True
        dramatiq.set_broker(self._broker)
        self._handle: Handle = lambda _value: None
        self._worker: Any = None
        self._threads = ThreadPoolExecutor(PUBLISHERS)

        def measured(value: float) -> None:
            self._handle(value)

        self._measured = dramatiq.actor(measured, queue_name=asked.prefix, broker=self._broker)

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._measured.send, value)

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`; there is no call for it."""
        for value in values:
            self._measured.send(value)

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""
        self._handle = handle
        self._worker = dramatiq.Worker(self._broker, worker_threads=concurrency, worker_timeout=10)
        self._worker.start()

    async def result(self, published: object) -> None:
        """See `Side.result`; never asked for."""
        raise TypeError(published)

    async def stop(self) -> None:
        """See `Side.stop`."""
        if self._worker:
            self._worker.stop(timeout=2000)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._broker.close()


async def make(asked: Asked) -> Dramatiq:
    """Return it."""
    return Dramatiq(asked)


if __name__ == "__main__":
    main(make)
