"""The official `bullmq` package as it comes, but for the timeout that makes idle workers deaf."""

from __future__ import annotations

from typing import Any

from bullmq import Queue, Worker

from benchmarks.queue_sides.common import Asked, Handle, main


class Stock:
    """See `Side`."""

    def __init__(self, asked: Asked) -> None:
        """Connect."""
        self._options: dict[str, Any] = {
            "connection": {"host": "127.0.0.1", "port": asked.port, "socket_timeout": None},
            "prefix": asked.prefix,
        }
        self._queue = Queue("measured", self._options)
        self._worker: Any = None

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        return await self._queue.add("measured", value, {"removeOnComplete": {"count": 10000}})

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`."""
        options = {"removeOnComplete": {"count": 10000}}
        await self._queue.addBulk(
            [{"name": "measured", "data": value, "opts": options} for value in values]
        )

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""

        async def process(job: Any, _token: str) -> None:
            handle(job.data)

        self._worker = Worker("measured", process, {**self._options, "concurrency": concurrency})

    async def result(self, published: object) -> None:
        """See `Side.result`; never asked for: the package has no way to wait for a result."""
        raise TypeError(published)

    async def stop(self) -> None:
        """See `Side.stop`."""
        if self._worker:
            await self._worker.close(force=True)
        await self._queue.close()


async def make(asked: Asked) -> Stock:
    """Return it."""
    return Stock(asked)


if __name__ == "__main__":
    main(make)
