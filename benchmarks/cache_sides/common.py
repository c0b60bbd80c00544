"""The measurements, written once against a small interface."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

Row = dict[str, int | str]
ROW: Row = {f"field{number}": number if number % 2 else "x" * 20 for number in range(10)}
TASKS = 50
COMPUTING = 1.0
"""Seconds the value takes to be computed, in a stampede."""


@dataclass(frozen=True)
class Asked:
    """What to measure."""

    port: int
    """Of Redis."""
    prefix: str
    what: str
    calls: int
    at: float
    """When a crowd begins, in seconds since 1970, so that all processes do."""


class Side(Protocol):
    """One cache."""

    async def get(self, number: int) -> Row:
        """Return a row, by the cache's own decorator or call; compute it by `compute`."""
        ...


class Counter:
    """Computes rows, and counts how often."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.calls = 0
        self.seconds = 0.0

    async def compute(self) -> Row:
        """Compute."""
        self.calls += 1
        await asyncio.sleep(self.seconds)
        return ROW


async def measure(side: Side, counter: Counter, asked: Asked) -> float:
    """Return the number that was asked for."""
    if asked.what == "crowd":
        counter.seconds = COMPUTING
        # Opens all connections: connecting would take longer than computing.
        await asyncio.gather(*(side.get(-1) for _ in range(asked.calls)))
        counter.calls = 0
        await asyncio.sleep(max(asked.at - time.time(), 0))
        await asyncio.gather(*(side.get(0) for _ in range(asked.calls)))
        return counter.calls
    await side.get(0)
    tasks = 1 if asked.what == "one" else TASKS

    async def ask() -> None:
        for _ in range(asked.calls // tasks):
            if await side.get(0) != ROW:
                message = "not the value that was kept"
                raise ValueError(message)

    await ask()  # warm
    counter.calls = 0
    started = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(tasks)))
    seconds = time.perf_counter() - started
    if counter.calls:
        message = "these were no hits"
        raise ValueError(message)
    return asked.calls / seconds


def main(start: Callable[[Asked, Counter], Awaitable[Side]]) -> None:
    """Measure what the command line asks for."""
    asked = Asked(**json.loads(sys.argv[1]))

    async def run() -> float:
        counter = Counter()
        return await measure(await start(asked, counter), counter, asked)

    print(json.dumps({"value": asyncio.run(run())}))
