"""Wait for the end of a job: told by a message, sure by looking."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.infrastructure.queue.errors import JobTimeoutError
from app.infrastructure.queue.handle import unknown
from app.infrastructure.queue.jobs import JobRecord, JobState
from app.infrastructure.queue.signals import Signals, Topic

Find = Callable[[str, str], Awaitable[JobRecord | None]]
LOOK_AGAIN = (1.0, 2.0, 5.0)
"""Seconds between looks at a job somebody waits for; the last one holds from then on. For messages
that were lost, and for workers that send none (BullMQ's in Node)."""
SOON = 0.02
"""Seconds in which the word of a job just published may come before anybody asks. For a short job
the question is one script of five that Redis runs, and its answer comes too late to be of use."""


async def wait_for_end(
    signals: Signals,
    find: Find,
    job: tuple[str, str],
    patience: float | None,
) -> JobRecord:
    """Wait until a job has ended; see `JobEngine.ended`.

    Args:
        signals: where its end is told.
        find: looks at a job.
        job: its queue and its id.
        patience: seconds; 0: one look; None: as long as it takes.

    Raises:
        UnknownJobError: there is none of this id, or no longer.
        JobTimeoutError: it has not ended in time.
        QueueUnavailableError: the broker can't be asked.
    """
    if patience is not None and patience <= 0:
        return await _look_once(find, job)
    deadline = asyncio.timeout(patience)
    try:
        async with deadline:
            with signals.job_ended(*job) as topic:
                return await _watch(signals, topic, find, job)
    except TimeoutError as error:
        if not deadline.expired():
            raise
        message = f"job {job[1]} has not ended within {patience:g} s"
        raise JobTimeoutError(message) from error


async def _look_once(find: Find, job: tuple[str, str]) -> JobRecord:
    record = await find(*job)
    if record is None:
        raise unknown(*job)
    if not record.state.has_ended:
        message = f"job {job[1]} has not ended"
        raise JobTimeoutError(message)
    return record


async def _watch(signals: Signals, topic: Topic, find: Find, job: tuple[str, str]) -> JobRecord:
    if not signals.takes_replies:
        await signals.listen(*job)
    elif signals.expects(*job):
        await _hear(topic, SOON)
    looks = 0
    while True:
        told = topic.told
        record = await _look(topic, find, job)
        if record is None:
            raise unknown(*job)
        if record.state.has_ended:
            return record
        if not (topic.subscribed or signals.is_addressed(record)):
            await signals.listen(*job)
            continue
        pause = LOOK_AGAIN[min(looks, len(LOOK_AGAIN) - 1)]
        looks += 1
        if topic.told == told:  # else something was said after we had asked
            topic.woken.clear()
            await _hear(topic, pause)


async def _hear(topic: Topic, seconds: float) -> None:
    with suppress(TimeoutError):  # not `wait_for`: see `Signals`
        async with asyncio.timeout(seconds):
            await topic.woken.wait()


async def _look(topic: Topic, find: Find, job: tuple[str, str]) -> JobRecord | None:
    """Return what is known of a job: what is said of it while we look, or what we see."""
    topic.woken.clear()
    if topic.result is None:
        looking = asyncio.ensure_future(find(*job))
        listening = asyncio.ensure_future(topic.woken.wait())
        try:
            await asyncio.wait((looking, listening), return_when=asyncio.FIRST_COMPLETED)
            if topic.result is None:
                return await looking
        finally:
            looking.cancel()
            listening.cancel()
    queue, job_id = job
    result = json.loads(topic.result)
    return JobRecord(id=job_id, queue=queue, state=JobState.COMPLETED, result=result)
