"""What the systems in Python share: the measurements, written once against a small interface."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from itertools import count
from statistics import median
from typing import Protocol

PUBLISHERS = 50
BATCH = 100
SAMPLES = 100
PAUSE = 0.01
"""Seconds between two jobs whose latency is measured: the worker is idle in between."""


@dataclass(frozen=True)
class Asked:
    """What to measure."""

    port: int
    """Of Redis."""
    broker: str
    """URL of RabbitMQ; empty: Redis is measured."""
    prefix: str
    what: str
    jobs: int
    concurrency: int


Handle = Callable[[float], None]


class Side(Protocol):
    """One system."""

    async def publish(self, value: float) -> object:
        """Publish one job; whatever is returned can be waited for by `result`."""
        ...

    async def publish_batch(self, values: list[float]) -> None:
        """Publish several in one go."""
        ...

    async def work(self, concurrency: int, handle: Handle) -> None:
        """Begin to do jobs, calling `handle` for each, on whatever thread."""
        ...

    async def result(self, published: object) -> None:
        """Wait for the end of a job."""
        ...

    async def stop(self) -> None:
        """End."""
        ...


async def _publish(side: Side, jobs: int) -> float:
    async def some() -> None:
        for _ in range(jobs // PUBLISHERS):
            await side.publish(0.0)

    began = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(PUBLISHERS)))
    return jobs / (time.perf_counter() - began)


async def _one_by_one(side: Side, jobs: int) -> float:
    began = time.perf_counter()
    for _ in range(jobs):
        await side.publish(0.0)
    return jobs / (time.perf_counter() - began)


async def _batch(side: Side, jobs: int) -> float:
    began = time.perf_counter()
    for _ in range(jobs // BATCH):
        await side.publish_batch([0.0] * BATCH)
    return jobs / (time.perf_counter() - began)


async def _consume(side: Side, jobs: int, concurrency: int) -> float:
    for _ in range(jobs // BATCH):
        await side.publish_batch([0.0] * BATCH)
    done, first, last = count(1), 0.0, 0.0
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle(_value: float) -> None:
        nonlocal first, last
        number = next(done)  # of threads as well
        if number == 1:
            first = time.perf_counter()
        elif number == jobs:
            last = time.perf_counter()
            loop.call_soon_threadsafe(ended.set)

    await side.work(concurrency, handle)
    await ended.wait()
    return jobs / (last - first)


async def _latency(side: Side) -> float:
    """Return the median of the milliseconds from before the publish to the start."""
    taken: list[float] = []

    def handle(sent: float) -> None:
        taken.append(time.perf_counter() - sent)

    await side.work(10, handle)
    await asyncio.sleep(0.5)
    for _ in range(SAMPLES):
        await side.publish(time.perf_counter())
        await asyncio.sleep(PAUSE)
    return median(taken) * 1000


async def _result(side: Side) -> float:
    """Return the median of the milliseconds from before the publish to the result."""
    taken: list[float] = []

    def handle(_value: float) -> None:
        pass

    await side.work(10, handle)
    await asyncio.sleep(0.5)
    for _ in range(SAMPLES):
        began = time.perf_counter()
        await side.result(await side.publish(0.0))
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE)
    return median(taken) * 1000


async def _measure(make: Callable[[Asked], Awaitable[Side]], asked: Asked) -> float:
    side = await make(asked)
    try:
        match asked.what:
            case "publish":
                return await _publish(side, asked.jobs)
            case "one by one":
                return await _one_by_one(side, asked.jobs)
            case "batch":
                return await _batch(side, asked.jobs)
            case "consume":
                return await _consume(side, asked.jobs, asked.concurrency)
            case "latency":
                return await _latency(side)
            case "result":
                return await _result(side)
        raise ValueError(asked.what)
    finally:
        await side.stop()


def main(make: Callable[[Asked], Awaitable[Side]]) -> None:
    """Measure what the command line asks for; print the number."""
    asked = Asked(**json.loads(sys.argv[1]))
    print(json.dumps({**asdict(asked), "value": asyncio.run(_measure(make, asked))}))
