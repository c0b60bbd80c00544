"""Take the jobs of one queue, run them in slots, and settle each as its verdict says.

Every slot takes its next job with the answer that settles the last one: one round trip a job. Of
the idle slots one at a time looks for work, and when there is none, the watch waits for all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

from loguru import logger

from app.core.tasks import end
from app.infrastructure.queue.bullmq.store import Nothing, Refused, Store, Taken
from app.infrastructure.queue.bullmq.watch import Watch
from app.infrastructure.queue.bullmq.wire import read_delivery
from app.infrastructure.queue.engine import Completed, Dead, GiveBack, JobRunner, Retry, Verdict
from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.queue.locks import LockKeeper
from app.infrastructure.queue.patience import Patience, Pulse
from app.infrastructure.queue.redis_scripts import Commands

MOST_TRIES = 30
"""To add the next job of a schedule: half a minute. A script that refuses would never do it."""
LAST_SECONDS = 2.0
"""Of the grace, kept for giving back what is still running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerParts:
    """What a consumer works with."""

    store: Store
    """The queue."""
    watch: Watch
    """Waits for work."""
    connect: Callable[[], Commands]
    """Makes the connection of the thread that keeps the locks."""
    runner: JobRunner
    concurrency: int
    """How many jobs at once."""
    lock: float
    """Seconds a job stays this worker's without being heard of."""
    ended_channel: Callable[[str], str]
    """Where it is told that a job has ended."""
    advance: Callable[[Taken], Awaitable[None]]
    """Adds the next job of a schedule whose job was taken."""
    listen: Callable[[], Awaitable[None]]
    """Makes this process hear of cancelled jobs."""


class BullmqConsumer:
    """See `Consumer`."""

    def __init__(self, parts: ConsumerParts) -> None:
        """Prepare; nothing is taken yet."""
        self._store = parts.store
        self._watch = parts.watch
        self._locks = LockKeeper(parts.store.extend, parts.connect, parts.lock, self.lost)
        self._runner = parts.runner
        self._concurrency = parts.concurrency
        self._recovery = parts.lock / 3
        self._parts = parts
        self._name = uuid4().hex
        self._taken: dict[str, Taken] = {}
        self._working: set[str] = set()
        """Those of them that have not ended."""
        self._closing = asyncio.Event()
        self._gone = asyncio.Event()
        self._seeker = asyncio.Lock()
        self._pulse = Pulse()
        self._tasks: list[asyncio.Task[None]] = []
        self._tokens = 0

    async def start(self) -> None:
        """See `Consumer.start`."""
        await self._parts.listen()
        self._locks.start()
        slots = [self._slot() for _ in range(self._concurrency)]
        for work in (*slots, self._recover()):
            self._tasks.append(asyncio.create_task(work, name=f"jobs of {self._store.queue}"))

    def is_alive(self) -> bool:
        """See `Consumer.is_alive`."""
        return not self._pulse.is_silent and not any(task.done() for task in self._tasks)

    def lost(self, job_id: str) -> None:
        """Stop a job whose lock is another worker's: what it does now is done twice."""
        if job_id not in self._working:
            return  # it has ended; Redis had let go of the lock, and its answer was on the way
        logger.error("Job {} lost its lock: another worker runs it, this one stops", job_id)
        if taken := self._taken.get(job_id):
            self._locks.let_go(job_id, taken.token)
        self._runner.give_back(self._store.queue, job_id)

    async def stop(self, grace: float) -> Sequence[str]:
        """See `Consumer.stop`."""
        until = time.monotonic() + grace
        self._closing.set()
        await self._drained(max(grace - min(LAST_SECONDS, grace / 2), 0.0))
        left = list(self._taken)
        for job_id in left:
            self._runner.give_back(self._store.queue, job_id)
        # Those that do not heed it: a thread, or a handler that swallows its cancellation.
        await self._drained(max((until - time.monotonic()) / 2, 0.0))
        for taken in list(self._taken.values()):
            with suppress(QueueUnavailableError):
                await self._store.release(taken)
        self._gone.set()
        await self._end()
        return left

    async def _drained(self, seconds: float) -> None:
        slots = self._tasks[: self._concurrency]
        if slots:
            await asyncio.wait(slots, timeout=seconds)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=1.0)
        await self._locks.stop()
        await self._watch.close()
        with suppress(QueueUnavailableError):
            await self._store.wake()

    async def _slot(self) -> None:
        """One of `concurrency` places: takes jobs one after the other."""
        while not self._closing.is_set():
            found: Taken | Nothing | None = await self._look()
            while isinstance(found, Taken):
                found = await self._guarded(found)

    async def _guarded(self, taken: Taken) -> Taken | Nothing | None:
        """Work on a job, whatever comes: a place that ends would never be filled again."""
        try:
            return await self._work(taken)
        except Exception:  # noqa: BLE001 - see above
            logger.exception("Job {} was left where it is, for its lock to run out", taken.id)
            return None

    async def _look(self) -> Taken | None:
        """Return the next job, once there is one and it is this slot's turn; None: closing."""
        async with self._seeker:
            patience = Patience(f"Jobs of {self._store.queue}")
            while not self._closing.is_set():
                try:
                    found = await self._store.take(self._token())
                    patience.answered()
                    self._pulse.beat()
                    if isinstance(found, Taken):
                        return found
                    await self._until_closing(self._watch.wait(found))
                    self._pulse.beat()
                except QueueUnavailableError as error:
                    await self._until_closing(patience.pause(error))
        return None

    async def _until_closing(self, work: Awaitable[None]) -> None:
        """Wait for `work`, or until the consumer closes; raise what it raises."""
        task = asyncio.ensure_future(work)
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((task, closing), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            closing.cancel()
            if not task.done():
                await end(task)  # or it goes on with a connection that is closed, and makes another

    def _token(self) -> str:
        # Each job has its own, so that a lock tells who holds it.
        self._tokens += 1
        return f"{self._name}:{self._tokens}"

    async def _work(self, taken: Taken) -> Taken | Nothing | None:
        """Run a job, settle it, and return what came with the answer."""
        self._taken[taken.id] = taken
        self._locks.hold(taken.id, taken.token)
        try:
            if self._closing.is_set():
                verdict: Verdict = GiveBack()
            else:
                self._working.add(taken.id)
                verdict = await self._run(taken)
                self._working.discard(taken.id)
            return await self._settle(taken, verdict)
        finally:
            self._working.discard(taken.id)
            if self._taken.get(taken.id) is taken:  # and not taken again by another place
                del self._taken[taken.id]
            self._locks.let_go(taken.id, taken.token)

    async def _run(self, taken: Taken) -> Verdict:
        if "rjk" in taken.fields and not await self._advance(taken):
            return GiveBack()
        store = self._store
        delivery = read_delivery(store.queue, taken.id, taken.fields, store)
        return await self._runner.run(delivery)

    async def _advance(self, taken: Taken) -> bool:
        """Add the next job of a schedule, or the schedule would end here; False: closing."""
        patience = Patience(f"The schedule of job {taken.id}")
        while not self._closing.is_set():
            try:
                await self._parts.advance(taken)
            except QueueUnavailableError as error:
                if patience.failures < MOST_TRIES:
                    await patience.pause(error)
                    continue
                logger.error("The schedule of job {} did not go on: {}", taken.id, error)
            except Exception as error:  # noqa: BLE001 - whatever the job's options may hold
                logger.error("Job {} says nothing about its schedule: {}", taken.id, error)
            return True
        return False

    async def _settle(self, taken: Taken, verdict: Verdict) -> Taken | Nothing | None:
        """Tell Redis what became of a job, as often as it takes: the work is done already."""
        patience = Patience(f"Job {taken.id}")
        answer: Taken | Nothing | Refused | None = None
        while not self._gone.is_set():
            try:
                answer = await self._tell(taken, verdict)
                self._pulse.beat()
                break
            except QueueUnavailableError as error:
                await patience.pause(error)
        if isinstance(answer, Refused):
            # After a failure the first try may have been heard: then all is well.
            if not patience.failures:
                template = "Job {} was no longer this worker's when it ended (code {})"
                logger.warning(template, taken.id, answer.code)
            return None
        return answer

    async def _tell(self, taken: Taken, verdict: Verdict) -> Taken | Nothing | Refused | None:
        more = not self._closing.is_set()
        channel = self._parts.ended_channel(taken.id)
        match verdict:
            case Completed():
                return await self._store.complete(taken, verdict.result, more=more, tell=channel)
            case Dead():
                return await self._store.bury(taken, verdict, more=more, tell=channel)
            case Retry():
                return await self._store.retry(taken, verdict, more=more)
            case GiveBack():
                await self._store.release(taken)
                return None

    async def _recover(self) -> None:
        """Give back the jobs of workers that vanished, now and then."""
        patience = Patience(f"Recovery of {self._store.queue}")
        while not self._closing.is_set():
            try:
                for job_id in await self._store.recover(self._recovery):
                    logger.warning("Job {} lost its worker and goes back to the queue", job_id)
                for job_id in await self._store.cancelled(list(self._taken)):
                    self._runner.cancel(self._store.queue, job_id)
                patience.answered()
                # All places may be taken for long: then nobody else asks.
                self._pulse.beat()
            except QueueUnavailableError as error:
                await patience.pause(error)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._recovery)
