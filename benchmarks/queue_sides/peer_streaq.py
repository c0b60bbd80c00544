"""streaq, with its defaults."""

from __future__ import annotations

import asyncio
from typing import Any

from streaq import Worker

from benchmarks.queue_sides.common import Asked, Handle, main


class Streaq:
    """See `Side`."""

    def __init__(self, asked: Asked) -> None:
        """Prepare."""
        self._worker: Any = Worker(
            redis_url=f"redis://127.0.0.1:{asked.port}",
            queue_name=asked.prefix,
            concurrency=asked.concurrency,
            handle_signals=False,
        )
        self._handle: Handle = lambda _value: None
        self._task: asyncio.Task[None] | None = None

        async def measured(value: float) -> None:
            self._handle(value)

        self._measured = self._worker.task(name="measured")(measured)

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        return await self._measured.enqueue(value)

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`."""
        await self._worker.enqueue_many([self._measured.enqueue(value) for value in values])

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""
        assert concurrency == self._worker.concurrency
        self._handle = handle
        self._task = asyncio.create_task(self._worker.run_async())

    async def result(self, published: Any) -> None:
        """See `Side.result`."""
        await published.result(timeout=10)

    async def stop(self) -> None:
        """See `Side.stop`."""
        if self._task:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=2)


async def make(asked: Asked) -> Streaq:
    """Return it, connected."""
    side = Streaq(asked)
    await side._worker.__aenter__()
    return side


if __name__ == "__main__":
    main(make)
