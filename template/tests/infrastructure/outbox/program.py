"""Processes for the tests: `crash NUMBER` commits and dies, again and again; `work` is a worker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

from dishka import AsyncContainer
from sqlalchemy import text

from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.events import Envelope, Event, Events, EventSink
from app.core.lifecycle import Lifecycle
from app.core.module import Module
from app.core.settings import load_settings
from app.infrastructure.database import Database
from app.infrastructure.deferred import Tasks
from app.infrastructure.outbox import Outbox, outbox
from app.infrastructure.queue import Job, JobQueue
from app.infrastructure.queue.process import main
from tests.infrastructure.outbox.conftest import PROBE, Shop

MOMENTS = ("before", "job unpublished", "job unnoted", "event undelivered", "event unnoted")
"""When the process dies, by its number."""


class Sold(Event):
    name = "tea.sold"

    number: int


async def hear(container: AsyncContainer, envelopes: Sequence[Envelope]) -> None:
    """Leave a row for each event that came."""
    async with (await container.get(Database)).unit_of_work() as session:
        for envelope in envelopes:
            values = {"name": f"event-{envelope.read(Sold).number}"}
            await session.execute(text("INSERT INTO effects VALUES (:name)"), values)


EAR = Module(name="ear", summary="Hears", requires=("outbox",), contributes=(EventSink(hear),))
REGISTRY = Registry((*discover().modules, PROBE, EAR))


def die() -> NoReturn:
    """As the kernel would end it: nothing of this process runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die_at(moment: str) -> None:
    """Have this process die when it comes to that; what is before it happens."""
    publish, deliver = JobQueue.publish_many, Events.deliver

    async def publish_killed(self: JobQueue, jobs: Sequence[Job]) -> Any:
        if moment == "job unpublished":
            die()
        handles = await publish(self, jobs)
        if moment == "job unnoted":
            die()
        return handles

    async def deliver_killed(self: Events, envelopes: Sequence[Envelope]) -> None:
        if moment == "event undelivered":
            die()
        await deliver(self, envelopes)
        die()

    JobQueue.publish_many = publish_killed  # type: ignore[method-assign]  # dies at that very moment
    Events.deliver = deliver_killed  # type: ignore[method-assign]  # the same


async def commit(number: int) -> None:
    """Commit a row, a call and an event, and die: before the commit, or at a step after it."""
    moment = MOMENTS[number % len(MOMENTS)]
    die_at(moment)
    settings = load_settings(REGISTRY.modules)
    container = build_container(REGISTRY, settings)
    async with Lifecycle(REGISTRY, settings, container):
        await container.get(Outbox)
        tasks = await container.get(Tasks)
        async with (await container.get(Database)).unit_of_work() as session:
            await Shop(session).sell(f"row-{number}")
            await tasks.run_later(lambda run: run(Shop).sell(f"job-{number}"))
            await (await container.get(Events)).publish(Sold(number=number), key=f"tea:{number}")
            await session.flush()
            if moment == "before":
                die()


if __name__ == "__main__":
    # What a killed process was at is free again soon: the test waits for that.
    outbox.LEASE = timedelta(seconds=5)
    if sys.argv[1] == "work":
        main(REGISTRY)
    else:
        for index in range(int(sys.argv[2])):
            if not os.fork():
                asyncio.run(commit(index))
            os.wait()
