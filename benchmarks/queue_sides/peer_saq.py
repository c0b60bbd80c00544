"""saq, with its defaults."""

from __future__ import annotations

import asyncio
from typing import Any

from saq import Queue, Worker

from benchmarks.queue_sides.common import Asked, Handle, main


class Saq:
    """See `Side`."""

    def __init__(self, asked: Asked) -> None:
        """Prepare."""
        self._queue: Any = Queue.from_url(f"redis://127.0.0.1:{asked.port}", name=asked.prefix)
        self._worker: Any = None

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        return await self._queue.enqueue("measured", value=value)

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`; there is no call that does not wait for the jobs."""
        await asyncio.gather(*(self.publish(value) for value in values))

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""

        async def measured(_context: Any, *, value: float) -> None:
            handle(value)

        self._worker = Worker(self._queue, [("measured", measured)], concurrency=concurrency)
        self._task = asyncio.create_task(self._worker.start())

    async def start(self) -> None:
        """Connect."""
        await self._queue.connect()

    async def result(self, published: Any) -> None:
        """See `Side.result`."""
        await published.refresh(10)

    async def stop(self) -> None:
        """See `Side.stop`."""
        if self._worker:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=2)
        await self._queue.disconnect()


async def make(asked: Asked) -> Saq:
    """Return it, connected."""
    side = Saq(asked)
    await side.start()
    return side


if __name__ == "__main__":
    main(make)
