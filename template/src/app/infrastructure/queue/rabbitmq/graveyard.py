"""Read the messages the broker has given up: they are dead for us as well."""

from __future__ import annotations

from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.queue.jobs import DeadReason, JobFailure
from app.infrastructure.queue.patience import Patience
from app.infrastructure.queue.rabbitmq.errands import Errands
from app.infrastructure.queue.rabbitmq.lanes import Lane, LaneParts, Message
from app.infrastructure.queue.rabbitmq.parts import ConsumerParts, Shift
from app.infrastructure.queue.rabbitmq.topology import declare_graveyard, graveyard

AT_ONCE = 16
"""Messages read before the first of them is buried."""


class Graveyard:
    """The graveyard of one queue."""

    def __init__(self, parts: ConsumerParts, shift: Shift, errands: Errands) -> None:
        """Prepare; nothing is read yet."""
        self._parts = parts
        self._records = parts.records
        self._errands = errands
        self._gone = shift.gone
        name = graveyard(parts.namespace, parts.queue)
        self._lane = Lane(
            LaneParts(
                queue=parts.queue,
                name=name,
                tag=f"{name}:{shift.worker}",
                line=parts.line,
                declare=lambda channel: declare_graveyard(
                    channel, parts.namespace, parts.queue, parts.group
                ),
                prefetch=lambda: AT_ONCE,
                came=self._came,
            )
        )

    async def open(self) -> bool:
        """See `Lane.open`."""
        return await self._lane.open()

    def _came(self) -> None:
        while self._lane.buffer:
            self._errands.begin(self._bury(self._lane.buffer.popleft()))

    async def _bury(self, message: Message) -> None:
        patience = Patience(f"Message of job {message.arrival.id}")
        while message.is_held and not self._gone.is_set():
            try:
                await self._note(message)
            except QueueUnavailableError as error:
                await patience.pause(error)
            else:
                break

    async def _note(self, message: Message) -> None:
        headers = message.headers or {}
        why = str(headers.get("x-first-death-reason") or "given up by RabbitMQ")
        failure = JobFailure(type="GivenUp", message=f"RabbitMQ gave the message up: {why}")
        await self._errands.record(message)
        _, woken = await self._records.bury(
            self._parts.queue,
            message.arrival.id,
            DeadReason.STALLED,
            failure,
            self._parts.ended_channel,
        )
        message.done()
        message.lane.acknowledge()
        for queue, job_id in woken:
            await self._parts.resend(queue, job_id)
