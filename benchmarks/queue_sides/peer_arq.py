"""arq, with the pause between its looks shortened from half a second to 10 ms."""

from __future__ import annotations

import asyncio
from typing import Any

from arq import Worker, create_pool, func
from arq.connections import RedisSettings

from benchmarks.queue_sides.common import Asked, Handle, main


class Arq:
    """See `Side`."""

    def __init__(self, asked: Asked) -> None:
        """Prepare."""
        self._settings = RedisSettings(host="127.0.0.1", port=asked.port)
        self._queue = asked.prefix
        self._pool: Any = None
        self._worker: Any = None

    async def start(self) -> None:
        """Connect."""
        self._pool = await create_pool(self._settings, default_queue_name=self._queue)

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        return await self._pool.enqueue_job("measured", value)

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`; there is no call for it."""
        await asyncio.gather(*(self.publish(value) for value in values))

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""

        async def measured(_context: Any, value: float) -> None:
            handle(value)

        self._worker = Worker(
            [func(measured, name="measured")],
            redis_settings=self._settings,
            queue_name=self._queue,
            max_jobs=concurrency,
            poll_delay=0.01,
            handle_signals=False,
        )
        self._task = asyncio.create_task(self._worker.async_run())

    async def result(self, published: Any) -> None:
        """See `Side.result`."""
        await published.result(timeout=10, poll_delay=0.01)

    async def stop(self) -> None:
        """See `Side.stop`."""
        if self._worker:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._pool.aclose()


async def make(asked: Asked) -> Arq:
    """Return it, connected."""
    side = Arq(asked)
    await side.start()
    return side


if __name__ == "__main__":
    main(make)
