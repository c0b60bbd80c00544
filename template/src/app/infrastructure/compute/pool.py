"""The pool: worker processes an API process starts, sizes and replaces."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import NewType

from loguru import logger

from app.core.settings import AppSettings
from app.core.tasks import end
from app.infrastructure.compute.board import Board, PoolReport
from app.infrastructure.compute.decorator import QUEUE
from app.infrastructure.compute.ownership import Ownership
from app.infrastructure.compute.pool_worker import PoolWorker, WorkerState
from app.infrastructure.compute.settings import ComputeSettings
from app.infrastructure.compute.worker import RETIRED
from app.infrastructure.health import Phase, Readiness
from app.infrastructure.queue import JobQueue, JobState, QueueUnavailableError
from app.infrastructure.queue.process import PARENT, REFUSED
from app.infrastructure.queue.settings import QueueSettings
from app.infrastructure.queue.supervisor import KILL_AFTER, LONGEST_PAUSE, end_all

LOOK = 0.2
"""Seconds between looks at the processes and the queue."""
PRESSED = 2
"""Looks in a row that find more jobs waiting than processes free, before there are more. Jobs that
are shorter than that need no further process: to start one takes a second of a processor."""
FAILING = 3
"""Deaths of one process in a row that make the pool an ill one."""
POST_EVERY = 5.0
"""Seconds between reports of a pool in which nothing changes."""
STOP_SECONDS = 1.5
"""Of the time a module may take to stop, kept for what comes after the processes."""
PoolCommand = NewType("PoolCommand", tuple[str, ...])
"""What each process runs."""
COMMAND = PoolCommand((sys.executable, "-m", "app.infrastructure.queue.process"))


class Pool:
    """Keeps as many processes as the work needs, between the minimum and the maximum."""

    def __init__(  # noqa: PLR0913 - injected
        self,
        *,
        jobs: JobQueue,
        readiness: Readiness,
        board: Board,
        command: PoolCommand,
        settings: ComputeSettings,
        app: AppSettings,
        queue: QueueSettings,
    ) -> None:
        """Prepare; nothing is started yet."""
        self._engine = jobs.engine
        self._readiness = readiness
        self._board = board
        self._command = command
        self._settings = settings
        self._nice = settings.compute_nice
        limit = app.app_shutdown_timeout
        self._grace = min(queue.worker_grace, max(limit - STOP_SECONDS - KILL_AFTER, limit / 2))
        self._ownership = Ownership(f"{app.app_name}:{queue.queue_engine}")
        self._workers: list[PoolWorker] = []
        self._restarts = 0
        self._pressed = 0
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._posted: tuple[PoolReport, float] | None = None

    @property
    def pids(self) -> list[int]:
        """The processes that live."""
        return [worker.place.process.pid for worker in self._workers if worker.place.process]

    def report(self) -> PoolReport | None:
        """Return how it is; None: another process of this machine has the pool, or none yet."""
        if self._task is None or not self._posted:
            return None
        states = Counter(worker.state.value for worker in self._workers)
        return self._board.blank().model_copy(
            update={
                **states,
                "restarts": self._restarts,
                "smallest": self._settings.compute_min_workers,
                "largest": self._settings.max_workers,
                "failing": any(worker.place.deaths >= FAILING for worker in self._workers),
            }
        )

    def start(self) -> None:
        """Begin, as soon as this process serves requests. One that never does starts no pool."""
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Look now: there is a new job."""
        if not self._workers:  # the others are found when they are free, or at the next look
            self._woken.set()

    async def stop(self) -> None:
        """End all processes: running jobs have their time, what is left is given back."""
        if self._task is None:
            return
        await end(self._task)
        report, self._task = self.report(), None
        living = list(self._living())
        if living:
            logger.info("The compute pool ends: {} processes", len(living))
            await asyncio.to_thread(end_all, living, self._grace)
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        self._ownership.give_back()
        if report:
            await self._board.remove(report)

    async def _run(self) -> None:
        while self._readiness.phase is Phase.STARTING or not self._ownership.take():  # noqa: ASYNC110 - another process's
            await asyncio.sleep(LOOK / 2)
        logger.info(
            "The compute pool has {} to {} processes",
            self._settings.compute_min_workers,
            self._settings.max_workers,
        )
        while True:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - the next look may do better
                logger.opt(exception=error).error("The compute pool could not be looked after")
            with suppress(TimeoutError):  # not `wait_for`: see `Signals`
                async with asyncio.timeout(LOOK):
                    await self._woken.wait()
            self._woken.clear()

    async def _look(self) -> None:
        """See who has ended, and have as many processes as are needed."""
        for worker in list(self._workers):
            worker.listen()
            self._see(worker)
        self._resize(await self._waiting())
        for worker in self._workers:
            if worker.place.may_start:
                self._start(worker)
        await self._post()

    async def _waiting(self) -> int:
        try:
            return (await self._engine.counts(QUEUE)).get(JobState.WAITING, 0)
        except QueueUnavailableError:  # said by the health check of the queue
            return 0

    def _see(self, worker: PoolWorker) -> None:
        """Take note of a process that has ended, and end one that does not."""
        process = worker.place.process
        code = worker.place.ended()
        if worker.state is WorkerState.LEAVING:
            if code is not None or process is None:
                worker.close()
                self._workers.remove(worker)
            elif time.monotonic() - worker.since > self._grace + KILL_AFTER:
                process.kill()
            return
        if code is None:
            return
        worker.state = WorkerState.STARTING
        self._restarts += 1
        if code == REFUSED:
            worker.place.deaths = FAILING
            worker.place.not_before = time.monotonic() + LONGEST_PAUSE
            logger.critical("A compute worker refuses to start: see its message before this one")
        elif code not in {0, RETIRED}:
            worker.place.died(code, "A compute worker")

    def _resize(self, waiting: int) -> None:
        settings = self._settings
        active = [one for one in self._workers if one.state is not WorkerState.LEAVING]
        missing = settings.compute_min_workers - len(active)
        free = sum(one.state is not WorkerState.RUNNING for one in active) + max(missing, 0)
        short = waiting - free
        self._pressed = self._pressed + 1 if short > 0 else 0
        if short > 0 and (self._pressed >= PRESSED or not active):
            missing = min(short, settings.max_workers - len(active))
        self._workers += [PoolWorker() for _ in range(missing)]
        if short > 0 or len(active) <= settings.compute_min_workers:
            return
        idle = [one for one in active if one.state is WorkerState.IDLE]
        longest = min(idle, key=lambda one: one.since, default=None)
        if longest and time.monotonic() - longest.since >= settings.compute_idle_seconds:
            longest.leave()

    def _start(self, worker: PoolWorker) -> None:
        env = {
            "APP_ROLE": "worker",
            PARENT: str(os.getpid()),
            "APP_SIDE_WORK": "false",
            "WORKER_QUEUES": QUEUE,
            "WORKER_CONCURRENCY": "1",
            "WORKER_GRACE": f"{self._grace:g}",
        }
        worker.start(self._command, env, self._nice)

    async def _post(self) -> None:
        now = time.monotonic()
        self._posted = self._posted or (self._board.blank(), -math.inf)
        report = self.report()
        before, at = self._posted
        if report and (_differ(report, before) or now - at > POST_EVERY):
            self._posted = (report, now)
            await self._board.post(report)

    def _living(self) -> Iterator[subprocess.Popen[bytes]]:
        return (worker.place.process for worker in self._workers if worker.place.process)


def _differ(one: PoolReport, other: PoolReport) -> bool:
    return one.model_dump(exclude={"at"}) != other.model_dump(exclude={"at"})
