"""What takes time, and nobody waits for: above all sending the message of a job again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from uuid import uuid4

from loguru import logger

from app.core.errors import AppError
from app.infrastructure.queue.engine import GiveBack, Retry
from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.queue.patience import Patience
from app.infrastructure.queue.rabbitmq.lanes import Message
from app.infrastructure.queue.rabbitmq.parts import ConsumerParts, Shift
from app.infrastructure.queue.rabbitmq.records import Addition
from app.infrastructure.queue.rabbitmq.wire import Arrival, Parcel, milliseconds, now_ms


class Errands:
    """The errands of one consumer."""

    def __init__(self, parts: ConsumerParts, shift: Shift) -> None:
        """Prepare; there are none yet."""
        self._queue = parts.queue
        self._records = parts.records
        self._publisher = parts.publisher
        self._gone = shift.gone
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """Those that are under way."""
        return tuple(self._tasks)

    def begin(self, work: Awaitable[None]) -> None:
        """Do something that nobody waits for."""
        task = asyncio.ensure_future(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except AppError as error:
            # Nothing is lost: the message was not acknowledged, or is noted as unsent.
            logger.debug("Left for later: {}", error)
        except Exception:  # noqa: BLE001 - it would be told nowhere
            logger.exception("An errand of {} failed", self._queue)

    async def record(self, message: Message) -> None:
        """Record a job Redis does not know; from now on the message has its id."""
        parcel, arrival = parcel_of(self._queue, message.arrival), message.arrival
        message.arrival = replace(arrival, id=parcel.id)
        await self._records.add([Addition(parcel=parcel, sent=True)])

    async def forward(self, message: Message, turn: int, verdict: Retry | GiveBack) -> None:
        """Send the next message of a job, in place of the one that brought it."""
        due = 0
        if isinstance(verdict, Retry) and (pause := milliseconds(verdict.after)) > 0:
            due = now_ms() + pause
        parcel = replace(parcel_of(self._queue, message.arrival), turn=turn, due=due)
        await self._send(parcel, message)

    async def forward_again(self, message: Message) -> None:
        """Send a message down the ladder once more: its delay is longer than one go."""
        await self._send(parcel_of(self._queue, message.arrival), message)

    async def park(self, message: Message, seconds: float) -> None:
        """Let a message come again later: its job is in other hands."""
        parcel = parcel_of(self._queue, message.arrival)
        due = now_ms() + round(seconds * 1000)
        await self._send(replace(parcel, due=due), message)

    async def _send(self, parcel: Parcel, then: Message) -> None:
        """Send a message in place of one that is held, until the broker has it."""
        patience = Patience(f"Message of job {parcel.id}")
        while not self._gone.is_set():
            try:
                await self._publisher.send([parcel])
            except QueueUnavailableError as error:
                if not then.is_held:
                    return  # it comes again by itself
                await patience.pause(error)
                continue
            break
        then.done()
        then.lane.acknowledge()


def parcel_of(queue: str, arrival: Arrival) -> Parcel:
    """Pack the job of a message again; one that is none keeps its bytes."""
    if arrival.job is not None:
        return replace(Parcel.of(arrival.job), turn=arrival.turn, due=arrival.due)
    return Parcel(
        id=arrival.id or f"raw-{uuid4().hex}",
        queue=queue,
        name="",
        body=arrival.body.decode("utf-8", "surrogateescape"),
        options="{}",
        headers="{}",
        created=now_ms(),
        turn=arrival.turn,
    )
