"""An engine of a generated service without what is above it: no handlers, scopes or events."""

from __future__ import annotations

import json

from app.core.ids import new_id
from app.infrastructure.queue import Job
from app.infrastructure.queue.engine import Completed, Delivery, JobEngine, Verdict

from benchmarks.queue_sides.common import Handle, main
from benchmarks.queue_sides.plinth import Plinth, maker


class _Runner:
    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def run(self, delivery: Delivery) -> Verdict:
        assert delivery.job  # noqa: S101 - published below
        self._handle(json.loads(delivery.job.body))
        return Completed("null")

    def cancel(self, queue: str, job_id: str) -> None:
        """Nothing runs long enough."""

    def give_back(self, queue: str, job_id: str) -> None:
        """Nothing runs long enough."""


def _job(value: float) -> Job:
    return Job(id=new_id().hex, name="measured", body=str(value))


class Bare(Plinth):
    """See `Side`."""

    modules = ()

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        return await (await self.container.get(JobEngine)).publish([_job(value)])

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`."""
        await (await self.container.get(JobEngine)).publish([_job(value) for value in values])

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""
        engine = await self.container.get(JobEngine)
        self._consumer = engine.consume("default", concurrency, _Runner(handle))
        await self._consumer.start()

    async def stop(self) -> None:
        """See `Side.stop`."""
        if hasattr(self, "_consumer"):
            await self._consumer.stop(1.0)
        await super().stop()


if __name__ == "__main__":
    main(maker(Bare))
