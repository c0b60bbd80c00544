"""Wait for the end of a job: told by a message, sure by looking."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.infrastructure.queue.errors import JobTimeoutError
from app.infrastructure.queue.handle import unknown
from app.infrastructure.queue.jobs import JobRecord
from app.infrastructure.queue.signals import Signals

LOOK_AGAIN = (1.0, 2.0, 5.0)
"""Seconds between looks at a job somebody waits for; the last one holds from then on. For messages
that were lost, and for workers that send none (BullMQ's in Node)."""


async def wait_for_end(
    signals: Signals,
    find: Callable[[str, str], Awaitable[JobRecord | None]],
    job: tuple[str, str],
    patience: float | None,
) -> JobRecord:
    """Wait until a job has ended; see `JobEngine.ended`.

    Args:
        signals: where its end is told.
        find: looks at a job.
        job: its queue and its id.
        patience: seconds; None: as long as it takes.

    Raises:
        UnknownJobError: there is none of this id, or no longer.
        JobTimeoutError: it has not ended in time.
        QueueUnavailableError: the broker can't be asked.
    """
    deadline = asyncio.timeout(patience)
    try:
        async with deadline, signals.job_ended(*job) as woken:
            looks = 0
            while True:
                record = await find(*job)
                if record is None:
                    raise unknown(*job)
                if record.state.has_ended:
                    return record
                pause = LOOK_AGAIN[min(looks, len(LOOK_AGAIN) - 1)]
                looks += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), pause)
                woken.clear()
    except TimeoutError as error:
        if not deadline.expired():
            raise
        message = f"job {job[1]} has not ended within {patience:g} s"
        raise JobTimeoutError(message) from error
