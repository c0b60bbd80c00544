"""A worker process with handlers for tests: `python program.py`, or `supervisor` after it.

What its jobs do is written to the file `LEDGER` names, a line each, with one write: it survives
whatever kills the process. A line says what, which job, which process, and when.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time

from app.core.discovery import Registry
from app.core.module import Module
from app.infrastructure.logger.module import module as logger_module
from app.infrastructure.queue import JobContext, JobHandler, job
from app.infrastructure.queue.module import module as queue_module
from app.infrastructure.queue.process import main
from app.infrastructure.queue.supervisor import Supervisor
from app.infrastructure.redis.module import module as redis_module


def note(what: str, job_id: str) -> None:
    """Write a line to the ledger."""
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, f"{what} {job_id} {os.getpid()} {time.time()}\n".encode())
    finally:
        os.close(ledger)


@job("work", attempts=3)
async def work(seconds: float, context: JobContext) -> str:
    """Take some time."""
    note("start", context.job.id)
    await asyncio.sleep(seconds)
    note("effect", context.job.id)
    return context.job.id


@job("block", attempts=3)
async def block(seconds: float, context: JobContext) -> None:
    """Take some time without letting anybody else have any."""
    note("start", context.job.id)
    time.sleep(seconds)  # noqa: ASYNC251 - the mistake this job is about
    note("effect", context.job.id)


@job("crash", attempts=3)
async def crash(how: str, context: JobContext) -> None:
    """End the process."""
    note("start", context.job.id)
    await asyncio.sleep(0.05)
    if how == "segfault":
        ctypes.string_at(0)
    os._exit(1)


HANDLERS: tuple[JobHandler[object, object], ...] = (work, block, crash)  # type: ignore[assignment]  # any payload
PROBE = Module(
    name="probe", summary="Handlers of the tests", requires=("queue",), contributes=HANDLERS
)
REGISTRY = Registry((logger_module, redis_module, queue_module, PROBE))

if __name__ == "__main__":
    if sys.argv[1:] == ["supervisor"]:
        processes = int(os.environ["WORKER_PROCESSES"])
        grace = float(os.environ["WORKER_GRACE"])
        sys.exit(Supervisor(processes, grace, (sys.executable, __file__)).run())
    main(REGISTRY)
