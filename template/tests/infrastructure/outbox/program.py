"""Processes for the tests: `crash NUMBER` commits and dies, again and again; `work` is a worker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings
from app.infrastructure.database import Database
from app.infrastructure.deferred import Tasks
from app.infrastructure.outbox import Outbox
from app.infrastructure.queue import Job, JobQueue
from app.infrastructure.queue.process import main
from tests.infrastructure.outbox.conftest import PROBE, Shop

REGISTRY = Registry((*discover().modules, PROBE))


def die() -> NoReturn:
    """As the kernel would end it: nothing of this process runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


async def commit(number: int) -> None:
    """Commit a row and a call, and die: before the commit, after it, or after publishing."""
    moment = ("before", "between", "after")[number % 3]
    publish = JobQueue.publish_many

    async def killed(self: JobQueue, jobs: Sequence[Job]) -> Any:
        if moment == "after":
            await publish(self, jobs)
        die()

    JobQueue.publish_many = killed  # type: ignore[method-assign]  # dies at that very moment
    settings = load_settings(REGISTRY.modules)
    container = build_container(REGISTRY, settings)
    async with Lifecycle(REGISTRY, settings, container):
        await container.get(Outbox)
        tasks = await container.get(Tasks)
        async with (await container.get(Database)).unit_of_work() as session:
            await Shop(session).sell(f"row-{number}")
            await tasks.run_later(lambda run: run(Shop).sell(f"job-{number}"))
            await session.flush()
            if moment == "before":
                die()


if __name__ == "__main__":
    if sys.argv[1] == "work":
        main(REGISTRY)
    else:
        for index in range(int(sys.argv[2])):
            if not os.fork():
                asyncio.run(commit(index))
            os.wait()
