"""What the limiters share: how they are measured."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from statistics import median
from typing import Any

TASKS = 50
CALLERS = 1000
RATE = 1_000_000_000
"""Requests a minute: nothing is refused, each check counts."""
REQUESTS = 1_500
Check = Callable[[str], Awaitable[object]]


async def throughput(check: Check, checks: int, tasks: int = TASKS) -> float:
    """Return the checks a second of so many tasks, for a thousand callers."""
    keys = [f"192.0.2.{number}" for number in range(CALLERS)]

    async def some(first: int) -> None:
        for number in range(first, checks, tasks):
            await check(keys[number % CALLERS])

    await check(keys[0])  # connects, loads its script
    began = time.perf_counter()
    await asyncio.gather(*(some(first) for first in range(tasks)))
    return checks / (time.perf_counter() - began)


async def per_request(app: Any, path: str) -> float:
    """Return the median of the microseconds a request takes, one after the other, in process."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "headers": [(b"host", b"test")], "client": ("192.0.2.1", 1),
        "server": ("test", 80),
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    taken = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        await app({**scope, "headers": list(scope["headers"])}, receive, send)
        taken.append(time.perf_counter() - began)
    if set(statuses) != {200}:
        message = f"answers {set(statuses)}"
        raise RuntimeError(message)
    return median(taken[REQUESTS // 10 :]) * 1_000_000


def main(measure: Callable[[int, str, int], Coroutine[Any, Any, float]]) -> None:
    """Measure what the command line asks for; print the number."""
    port, what, checks = sys.argv[1:]
    print(json.dumps({"value": asyncio.run(measure(int(port), what, int(checks)))}))
