"""streaQ, with its defaults."""

from __future__ import annotations

import asyncio
from typing import Any

from streaq import Worker

from benchmarks.queue_sides.common import Asked, Handle, main
from benchmarks.queue_sides.elsewhere import Elsewhere, asked_here


def worker_of(asked: Asked, handle: Handle) -> tuple[Any, Any]:
    """Return a worker, which also publishes, and its task."""
    worker: Any = Worker(
        redis_url=f"redis://127.0.0.1:{asked.port}",
        queue_name=asked.prefix,
        concurrency=asked.concurrency,
    )

    async def measured(value: float) -> None:
        handle(value)

    return worker, worker.task(measured)


class Streaq:
    """See `Side`."""

    def __init__(self, asked: Asked) -> None:
        """Prepare."""
        self._asked = asked
        self._client, self._measured = worker_of(asked, lambda _value: None)
        self._worker: Elsewhere | None = None

    async def start(self) -> None:
        """Connect."""
        await self._client.__aenter__()

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        return await self._measured.enqueue(value)

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`."""
        await self._client.enqueue_many([self._measured.enqueue(value) for value in values])

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""
        module = "benchmarks.queue_sides.peer_streaq"
        self._worker = Elsewhere(module, self._asked, concurrency, handle)
        await asyncio.sleep(2)  # until it listens; jobs that wait are not begun before

    async def result(self, published: Any) -> None:
        """See `Side.result`."""
        await published.result(10)

    async def stop(self) -> None:
        """See `Side.stop`."""
        if self._worker:
            self._worker.stop()
        await self._client.__aexit__(None, None, None)


async def make(asked: Asked) -> Streaq:
    """Return it, connected."""
    side = Streaq(asked)
    await side.start()
    return side


if __name__ == "__main__":
    if here := asked_here():
        asyncio.run(worker_of(*here)[0].run_async())
    else:
        main(make)
