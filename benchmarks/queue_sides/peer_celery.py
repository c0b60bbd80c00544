"""celery, as many threads as jobs at once; on Redis or RabbitMQ, acks after the task."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery

from benchmarks.queue_sides.common import PUBLISHERS, Asked, Handle, main


class CeleryThreads:
    """See `Side`. Publishing blocks, so that each task has a thread to do it on."""

    def __init__(self, asked: Asked) -> None:
        """Prepare."""
        url = asked.broker or f"redis://127.0.0.1:{asked.port}/0"
        self._app: Any = Celery("bench", broker=url)
        self._app.conf.update(
            task_acks_late=True,
            task_ignore_result=True,
            task_default_queue=asked.prefix,
            worker_prefetch_multiplier=1,
            worker_hijack_root_logger=False,
            broker_transport_options={"confirm_publish": True} if asked.broker else {},
            broker_pool_limit=PUBLISHERS,
        )
        self._handle: Handle = lambda _value: None
        self._threads = ThreadPoolExecutor(PUBLISHERS)

        def measured(value: float) -> None:
            self._handle(value)

        self._measured = self._app.task(name="measured")(measured)

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._measured.delay, value)

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`; there is no call for it."""
        for value in values:
            self._measured.delay(value)

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""
        self._handle = handle
        worker = self._app.Worker(
            pool="threads", concurrency=concurrency, loglevel="ERROR", without_gossip=True,
            without_mingle=True, without_heartbeat=True, quiet=True,
        )  # fmt: skip
        threading.Thread(target=worker.start, daemon=True).start()
        await asyncio.sleep(1)

    async def result(self, published: object) -> None:
        """See `Side.result`; never asked for."""
        raise TypeError(published)

    async def stop(self) -> None:
        """See `Side.stop`. The worker ends with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def make(asked: Asked) -> CeleryThreads:
    """Return it."""
    return CeleryThreads(asked)


if __name__ == "__main__":
    main(make)
