"""Take the jobs of one queue from its lanes, run them in slots, and settle each.

Messages come in at the intake. A conductor claims their jobs and lets them run in places; when they
have ended, it settles them. Here all of it is started, stopped, and looked after meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from loguru import logger

from app.core.errors import AppError
from app.infrastructure.queue.engine import GiveBack
from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.queue.locks import LockKeeper
from app.infrastructure.queue.patience import Patience
from app.infrastructure.queue.rabbitmq.conductor import CONDUCTORS, MARGIN, Conductor
from app.infrastructure.queue.rabbitmq.errands import Errands
from app.infrastructure.queue.rabbitmq.graveyard import Graveyard
from app.infrastructure.queue.rabbitmq.intake import Intake
from app.infrastructure.queue.rabbitmq.parts import ConsumerParts, Shift
from app.infrastructure.queue.rabbitmq.places import Places, Running
from app.infrastructure.queue.redis_scripts import Commands

LAST_SECONDS = 2.0
"""Of the grace, kept for giving back what is still running."""
LONGEST_INTERVAL = 3.0
"""Seconds between looks at what runs, and at the broker."""
PARK_AFTER = 60.0
"""Seconds after which a running job's message is exchanged for one that comes later, since the
broker closes the channel of who holds a message too long (consumer_timeout, 30 minutes)."""


class RabbitmqConsumer:
    """See `Consumer`."""

    def __init__(self, parts: ConsumerParts) -> None:
        """Prepare; nothing is taken yet."""
        self._parts = parts
        self._queue = parts.queue
        self._records = parts.records
        self._shift = shift = Shift()
        self._locks = LockKeeper(self._renew, parts.connect, parts.lock, lambda _job: None)
        self._errands = Errands(parts, shift)
        self._intake = Intake(parts, shift, self._errands)
        self._graveyard = Graveyard(parts, shift, self._errands)
        self._places = Places(parts, shift)
        self._conductor = Conductor(parts, shift, self._intake, self._places, self._errands)
        self._tasks: list[asyncio.Task[None]] = []

    # --- starting, stopping, health ---------------------------------------------------------

    async def start(self) -> None:
        """See `Consumer.start`."""
        await self._parts.listen()
        await self._records.renew_now(self._shift.worker)
        self._locks.start()
        await self._connect()
        ended = self._conductor.settle
        slots = [self._places.slot(ended) for _ in range(self._parts.concurrency)]
        conductors = [self._conductor.conduct() for _ in range(CONDUCTORS)]
        for work in (*slots, *conductors, self._look_after(), self._keep_schedules()):
            self._tasks.append(asyncio.create_task(work, name=f"jobs of {self._queue}"))

    def is_alive(self) -> bool:
        """See `Consumer.is_alive`."""
        return not self._shift.pulse.is_silent and not any(task.done() for task in self._tasks)

    async def stop(self, grace: float) -> Sequence[str]:
        """See `Consumer.stop`."""
        until = time.monotonic() + grace
        self._shift.closing.set()
        self._shift.turn()
        await self._give_back_unstarted(min(1.0, grace / 4))
        await self._drained(max(until - time.monotonic() - min(LAST_SECONDS, grace / 2), 0.0))
        left = list(self._places.running)
        for job_id in left:
            self._parts.runner.give_back(self._queue, job_id)
        # Those that do not heed it: a thread, or a handler that swallows its cancellation.
        await self._drained(max((until - time.monotonic()) / 2, 0.0))
        for running in self._places.running.values():
            if running.verdict is None:
                self._conductor.settle(running, GiveBack())
        await self._drained(max(min(until - time.monotonic(), 1.0), 0.2))
        self._shift.gone.set()
        self._shift.turn()
        await self._end()
        return left

    async def _give_back_unstarted(self, seconds: float) -> None:
        """Let other workers have what waits here, unless the broker does not listen."""
        releasing = asyncio.ensure_future(self._intake.release())
        await asyncio.wait((releasing,), timeout=seconds)
        releasing.cancel()

    async def _drained(self, seconds: float) -> None:
        """Wait until nothing runs and everything is settled, at most so long."""
        until = time.monotonic() + seconds
        while (self._places.running or self._errands.tasks) and time.monotonic() < until:  # noqa: ASYNC110 - of many ends
            await asyncio.sleep(0.01)

    async def _end(self) -> None:
        self._intake.acknowledge()
        pending = (*self._tasks, *self._errands.tasks)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=1.0)
        # What was not started goes back with the channel.
        await self._parts.line.close()
        await self._locks.stop()
        with suppress(QueueUnavailableError):
            await self._records.resign(self._shift.worker)

    async def _renew(self, commands: Commands, _held: object) -> list[str]:
        await self._records.renew(commands, self._shift.worker)
        return []

    # --- now and then -----------------------------------------------------------------------

    async def _look_after(self) -> None:
        """Connect again when a line is lost, and see that nothing is forgotten."""
        patience = Patience(f"Consumer of {self._queue}")
        interval = min(self._parts.lock / 3, LONGEST_INTERVAL)
        checked = 0.0
        while not self._shift.gone.is_set():
            try:
                if not self._shift.closing.is_set():
                    await self._connect()
                    await self._release_or_subscribe()
                if time.monotonic() - checked > interval:
                    checked = time.monotonic()
                    await self._check()
                    patience.answered()  # both servers; that there is a connection says nothing
            except AppError as error:
                await patience.pause(error)
                continue
            except Exception:  # noqa: BLE001 - nobody else would look
                logger.exception("The consumer of {} could not be looked after", self._queue)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._shift.gone.wait(), 0.1)

    async def _connect(self) -> None:
        """Open the lanes that are not.

        Raises:
            QueueUnavailableError: none can be.
            ConfigurationError: a queue is declared otherwise.
        """
        # First of all: without a connection every lane would fail, each after a timeout of its own,
        # and wait longer and longer before it is tried again.
        await self._parts.line.connect()
        opened = [await self._intake.open(), await self._graveyard.open()]
        if not any(opened):
            self._parts.line.drop()
            message = f"no lane of {self._queue} can be read"
            raise QueueUnavailableError(message)

    async def _release_or_subscribe(self) -> None:
        """Give back what waits here too long; take again once there is a place for it."""
        held_up = self._conductor.is_held_up
        if not self._intake.is_released:
            await self._intake.subscribe()
            if self._intake.has_waited and (held_up or not self._places.is_any_free):
                await self._intake.release()
            else:
                await self._intake.take_ahead(self._places.wanted_ahead(self._intake.ahead))
        elif self._conductor.is_paused:
            await self._conductor.ask_gate()
        elif self._places.is_any_free and not held_up:
            await self._intake.take_again()

    async def _check(self) -> None:
        worker, jobs = self._shift.worker, self._places.running
        mine = {job_id: r for job_id, r in jobs.items() if r.verdict is None}
        cancelled, lost = await self._records.look_at_running(self._queue, worker, list(mine))
        for job_id in cancelled:
            self._parts.runner.cancel(self._queue, job_id)
        for job_id in lost:
            if mine[job_id].verdict is None:  # else its end was on its way while we asked
                logger.error("Job {} is another worker's by now: this one stops", job_id)
                self._parts.runner.give_back(self._queue, job_id)
        if reclaimed := await self._records.reclaim(self._queue):
            logger.warning("{} jobs of dead workers wait again", len(reclaimed))
            self._shift.turn()
        if unsent := await self._records.unsent(self._queue, 2 * self._parts.lock):
            text = "{} jobs may never have reached RabbitMQ and are sent again: {}"
            logger.warning(text, len(unsent), ", ".join(parcel.id for parcel in unsent))
        for parcel in unsent:
            await self._parts.publisher.send([parcel])
        now = time.monotonic()
        for running in list(jobs.values()):
            if now - running.since > PARK_AFTER and not running.parked:
                await self._park_running(running)
        if not self._shift.closing.is_set():
            await self._intake.probe()
        self._shift.pulse.beat()

    async def _park_running(self, running: Running) -> None:
        """Exchange the message of a long job for one that comes later."""
        if not running.message.is_held:
            return
        await self._records.park(self._queue, running.message.arrival.id)
        running.parked = True
        await self._errands.park(running.message, self._parts.lock + MARGIN)

    async def _keep_schedules(self) -> None:
        """Do what is due by schedule."""
        patience = Patience(f"Schedules of {self._queue}")
        while not self._shift.closing.is_set():
            try:
                pause = await self._parts.tick()
                patience.answered()
            except AppError as error:
                await patience.pause(error)
                continue
            except Exception:  # noqa: BLE001 - nobody else would go on
                logger.exception("The schedules of {} did not go on", self._queue)
                pause = 1.0
            with suppress(TimeoutError):
                await asyncio.wait_for(self._shift.closing.wait(), pause)
