"""Run claimed jobs in places, one after the other in each, and know them until they are settled."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from loguru import logger

from app.infrastructure.queue.engine import GiveBack, Verdict
from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.queue.rabbitmq.lanes import Message
from app.infrastructure.queue.rabbitmq.parts import ConsumerParts, Shift
from app.infrastructure.queue.rabbitmq.records import Records
from app.infrastructure.queue.rabbitmq.steps import Claim
from app.infrastructure.queue.rabbitmq.wire import delivery_of

AHEAD = 16
"""Messages taken ahead of free places at least, where jobs are short: the next one is here when one
is done. Where they are long, none is: another worker may have a place for it."""
SHORT, LONG = 0.02, 0.05
"""Seconds. Jobs are short if they take less than the first on average, and long again above the
second."""
WEIGHT = 0.05
"""Of the latest job in that average."""


@dataclass(slots=True)
class Running:
    """A job that was claimed."""

    message: Message
    claim: Claim
    since: float = field(default_factory=time.monotonic)
    parked: bool = False
    """Its message went back to the broker, and comes again."""
    verdict: Verdict | None = None


Ended = Callable[[Running, Verdict], None]


class Places:
    """The places of one consumer."""

    def __init__(self, parts: ConsumerParts, shift: Shift) -> None:
        """Prepare; nothing runs yet."""
        self._queue = parts.queue
        self._runner = parts.runner
        self._concurrency = parts.concurrency
        self._hooks = _Hooks(parts.queue, parts.records)
        self._closing = shift.closing
        self._running: dict[str, Running] = {}
        self._ready: deque[Running] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._free = parts.concurrency
        self._pace = LONG

    @property
    def running(self) -> Mapping[str, Running]:
        """What was claimed and is not settled, by id."""
        return self._running

    @property
    def room(self) -> int:
        """For how many more jobs there are places."""
        return self._free - len(self._ready)

    @property
    def is_any_free(self) -> bool:
        """Whether there is a place where nothing runs."""
        return self._free > 0

    def wanted_ahead(self, ahead: int) -> int:
        """Return how many messages are to wait here, now that `ahead` do: see `AHEAD`."""
        if self._pace < SHORT:
            return max(self._concurrency, AHEAD)
        return 0 if self._pace > LONG else ahead

    def start(self, message: Message, claim: Claim) -> None:
        """Let a job run that was claimed."""
        if message.arrival.id in self._running:
            # The other conductor has heard first of another message about it.
            self.adopt(message, claim)
            return
        running = Running(message, claim)
        self._running[message.arrival.id] = running
        self._ready.append(running)
        if self._idle:
            place = self._idle.popleft()
            if not place.done():
                place.set_result(None)

    def adopt(self, message: Message, claim: Claim) -> None:
        """A job of this worker came again: its channel was lost, or its message was parked."""
        running = self._running.get(message.arrival.id)
        if running is None:
            # Claimed before, and the answer was lost.
            self.start(message, claim)
        elif running.parked or not running.message.is_held:
            running.message, running.parked = message, False
            running.since = time.monotonic()
        elif running.message is not message:
            message.done()  # one of two

    def forget(self, running: Running) -> None:
        """A job is settled, or can't be."""
        job_id = running.message.arrival.id
        if self._running.get(job_id) is running:
            del self._running[job_id]

    async def slot(self, ended: Ended) -> None:
        """One of `concurrency` places: runs jobs one after the other."""
        while True:
            while not self._ready:
                place = asyncio.get_running_loop().create_future()
                self._idle.append(place)
                await place
            running = self._ready.popleft()
            self._free -= 1
            began = time.monotonic()
            try:
                verdict = await self._run(running)
            finally:
                self._free += 1
            self._pace += WEIGHT * (time.monotonic() - began - self._pace)
            if running.verdict is None:
                ended(running, verdict)

    async def _run(self, running: Running) -> Verdict:
        """Run a job, whatever comes: a place that ends would never be filled again."""
        if self._closing.is_set():
            return GiveBack()
        claim = running.claim
        try:
            delivery = delivery_of(
                running.message.arrival,
                self._queue,
                claim.history or {},
                claim.number,
                self._hooks,
            )
            return await self._runner.run(delivery)
        except QueueUnavailableError as error:
            logger.warning("Job {} goes back: {}", running.message.arrival.id, error)
        except Exception:  # noqa: BLE001 - see above
            logger.exception("Job {} goes back", running.message.arrival.id)
        await asyncio.sleep(1.0)
        return GiveBack()


class _Hooks:
    """What the executor asks for: see `DeliveryHooks`."""

    def __init__(self, queue: str, records: Records) -> None:
        self._queue = queue
        self._records = records

    async def progress(self, job_id: str, value: object) -> None:
        await self._records.progress(self._queue, job_id, value)

    async def children_results(self, job_id: str) -> dict[str, object]:
        return await self._records.children_results(self._queue, job_id)

    async def set_aside(self, job_id: str) -> None:
        await self._records.set_aside(self._queue, job_id)

    async def mark_alone(self, job_id: str) -> None:
        await self._records.mark_alone(self._queue, job_id)
