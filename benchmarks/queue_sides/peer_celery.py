"""Celery, as many threads as jobs at once; with its defaults, so acknowledged before the work."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery

from benchmarks.queue_sides.common import PUBLISHERS, Asked, Handle, main
from benchmarks.queue_sides.elsewhere import Elsewhere, asked_here


def application(asked: Asked, handle: Handle) -> tuple[Any, Any]:
    """Return the application and its task."""
    broker = asked.broker or f"redis://127.0.0.1:{asked.port}/0"
    app = Celery("measured", broker=broker)
    app.conf.update(task_default_queue=asked.prefix, task_ignore_result=True)

    def measured(value: float) -> None:
        handle(value)

    return app, app.task(name="measured")(measured)


class CelerySide:
    """See `Side`. Publishing blocks, so that each task has a thread to do it on."""

    def __init__(self, asked: Asked) -> None:
        """Prepare."""
        self._asked = asked
        self._app, self._measured = application(asked, lambda _value: None)
        self._threads = ThreadPoolExecutor(PUBLISHERS)
        self._worker: Elsewhere | None = None

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
        module = "benchmarks.queue_sides.peer_celery"
        self._worker = Elsewhere(module, self._asked, concurrency, handle)
        await asyncio.sleep(3)  # until it listens; jobs that wait are not begun before

    async def result(self, published: object) -> None:
        """See `Side.result`; never asked for."""
        raise TypeError(published)

    async def stop(self) -> None:
        """See `Side.stop`."""
        if self._worker:
            self._worker.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._app.close()


async def make(asked: Asked) -> CelerySide:
    """Return it."""
    return CelerySide(asked)


def work(asked: Asked, handle: Handle) -> None:
    """Do jobs, in a process of its own."""
    app, _ = application(asked, handle)
    words = ["worker", "--pool=threads", f"--concurrency={asked.concurrency}", "--loglevel=ERROR"]
    app.worker_main([*words, "--without-gossip", "--without-mingle", "--without-heartbeat"])


if __name__ == "__main__":
    if here := asked_here():
        work(*here)
    else:
        main(make)
