"""Settle the jobs that have ended and claim others, in rounds.

Two tasks, the conductors, take turns. In one round trip to Redis a conductor settles the jobs that
have ended and claims those that places are free for; then it acknowledges the first and lets the
others start. While it waits for the answer more come together, so the busier a worker is, the more
jobs share a round trip; and while one waits for Redis, the jobs of the other one run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from loguru import logger

from app.infrastructure.queue.engine import GiveBack, Retry, Verdict
from app.infrastructure.queue.errors import BrokenRecordError, QueueUnavailableError
from app.infrastructure.queue.patience import Patience
from app.infrastructure.queue.rabbitmq.errands import Errands
from app.infrastructure.queue.rabbitmq.intake import Intake
from app.infrastructure.queue.rabbitmq.lanes import Message
from app.infrastructure.queue.rabbitmq.parts import ConsumerParts, Shift
from app.infrastructure.queue.rabbitmq.places import Places, Running
from app.infrastructure.queue.rabbitmq.steps import Claim, Gate, Settled, Settlement, Step
from app.infrastructure.queue.rabbitmq.wire import Arrival
from app.infrastructure.queue.signals import reply_to

CONDUCTORS = 2
BROKEN_AGAIN = 60.0
"""Seconds until a job is looked at again whose record can't be used."""
MARGIN = 0.25
"""Seconds added to the lock of another worker before a job it may have lost is looked at."""


class Conductor:
    """What the conductors of one consumer do."""

    def __init__(
        self, parts: ConsumerParts, shift: Shift, intake: Intake, places: Places, errands: Errands
    ) -> None:
        """Prepare; nothing is claimed yet."""
        self._parts = parts
        self._queue = parts.queue
        self._shift = shift
        self._intake = intake
        self._places = places
        self._errands = errands
        self._settling: list[Running] = []
        self._claiming = 0
        self._gate_opens = 0.0
        self._paused = False

    def settle(self, running: Running, verdict: Verdict) -> None:
        """Let a job be settled that has ended."""
        running.verdict = verdict
        self._settling.append(running)
        self._shift.turn()

    async def conduct(self) -> None:
        """Settle and claim, until everything is settled and nothing more is taken."""
        patience = Patience(f"Jobs of {self._queue}")
        while not self._shift.gone.is_set():
            await self._shift.wake.wait()
            self._shift.wake.clear()
            await self._rounds(patience)

    async def _rounds(self, patience: Patience) -> None:
        while not self._shift.gone.is_set():
            settling, self._settling = self._settling, []
            claiming = self._pick()
            if not settling and not claiming:
                return
            try:
                await self._round(settling, claiming)
            except BrokenRecordError:
                await self._one_by_one(settling, claiming)
            except QueueUnavailableError as error:
                # Asked again as it is: what Redis may have done already it tells again.
                self._settling = settling + self._settling
                self._intake.put_back(claiming)
                await patience.pause(error)
                continue
            except Exception:  # noqa: BLE001 - whatever it was: nobody else would go on here
                logger.exception("Jobs of {} can't be claimed or settled", self._queue)
                self._settling = settling + self._settling
                self._intake.put_back(claiming)
                await asyncio.sleep(1.0)
                continue
            patience.answered()

    def _pick(self) -> list[Message]:
        """Return the messages whose jobs could start now."""
        if self._shift.closing.is_set() or time.monotonic() < self._gate_opens:
            return []
        room = self._places.room - self._claiming
        # Each conductor has its share, or one would take all there is and the other wait for it.
        return self._intake.pick(min(room, max(self._parts.concurrency // CONDUCTORS, 1)))

    async def _round(self, settling: Sequence[Running], claiming: Sequence[Message]) -> None:
        """Settle and claim, and do what follows from the answers."""
        self._claiming += len(claiming)
        step = await self._ask(settling, claiming)
        self._shift.pulse.beat()
        if settling or any(claim.code == "run" for claim in step.claims):
            self._intake.moved()
        for running, settled in zip(settling, step.settled, strict=True):
            self._after(running, settled)
        for message, claim in zip(claiming, step.claims, strict=True):
            self._begin(message, claim)
        self._mind(step.gate)
        for queue, job_id in step.woken:
            self._errands.begin(self._parts.resend(queue, job_id))
        self._intake.acknowledge()

    async def _ask(self, settling: Sequence[Running], claiming: Sequence[Message]) -> Step:
        settlements = [
            Settlement(
                r.message.arrival.id,
                r.verdict or GiveBack(),
                r.parked or not r.message.is_held,
                reply_to(r.message.arrival.job),
            )
            for r in settling
        ]
        try:
            return await self._step([message.arrival for message in claiming], settlements)
        finally:
            self._claiming -= len(claiming)

    async def _step(self, arrivals: Sequence[Arrival], settlements: Sequence[Settlement]) -> Step:
        return await self._parts.records.step(
            self._queue, self._shift.worker, self._parts.ended_channel, arrivals, settlements
        )

    # --- one job's record is broken ---------------------------------------------------------

    async def _one_by_one(self, settling: Sequence[Running], claiming: Sequence[Message]) -> None:
        """One job's record is broken: it must not hold up the others.

        Its message comes again after a while. Somebody has to mend the record, or to remove it.
        """
        for running in settling:
            try:
                await self._round([running], ())
            except BrokenRecordError as error:
                self._places.forget(running)
                self._leave(running.message, error)
            except Exception:  # noqa: BLE001 - the next round tells: it is asked again
                self._settling.append(running)
        for message in claiming:
            try:
                await self._round((), [message])
            except BrokenRecordError as error:
                self._leave(message, error)
            except Exception:  # noqa: BLE001 - as above
                self._intake.put_back([message])

    def _leave(self, message: Message, error: BrokenRecordError) -> None:
        text = "Job {} is looked at again in {:g} s: {}"
        logger.error(text, message.arrival.id, BROKEN_AGAIN, error)
        if message.is_held:
            self._errands.begin(self._errands.park(message, BROKEN_AGAIN))

    # --- what follows from an answer --------------------------------------------------------

    def _begin(self, message: Message, claim: Claim) -> None:
        """Do what Redis says to a message."""
        match claim.code:
            case "run":
                self._places.start(message, claim)
            case "mine":
                self._places.adopt(message, claim)
            case "drop":
                message.done()
            case "unknown":
                self._errands.begin(self._introduce(message))
            case "held":
                wait = claim.number / 1000 + MARGIN
                self._errands.begin(self._errands.park(message, wait))
            case _:
                self._intake.put_back([message])
                logger.trace("Job {} has to wait", message.arrival.id)

    async def _introduce(self, message: Message) -> None:
        """Record a job Redis does not know: somebody else's, or Redis has lost its memory."""
        try:
            await self._errands.record(message)
        except QueueUnavailableError:
            await asyncio.sleep(0.5)
            raise
        finally:
            self._intake.put_back([message])
            self._shift.turn()

    def _after(self, running: Running, settled: Settled) -> None:
        """Let the broker know of a settlement."""
        message, verdict = running.message, running.verdict
        self._places.forget(running)
        if not settled.ours:
            logger.warning("Job {} was no longer this worker's when it ended", message.arrival.id)
        match verdict:
            case Retry() if settled.ours:
                self._errands.begin(self._errands.forward(message, settled.turn, verdict))
            case Retry() | GiveBack() if message.is_held and not running.parked:
                message.lane.give_back([message])
            case GiveBack() if settled.ours:
                self._errands.begin(self._errands.forward(message, settled.turn, verdict))
            case _:
                message.done()

    # --- the queue's gate -------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Whether the queue is, as far as is known here."""
        return self._paused

    @property
    def is_held_up(self) -> bool:
        """Whether the queue lets no more jobs start for now."""
        return self._paused or time.monotonic() < self._gate_opens

    def _mind(self, gate: Gate) -> None:
        """Wait as long as the queue's limits or a pause want."""
        self._paused = gate.paused
        wait = 0.5 if gate.paused else gate.wait
        if wait and self._intake.has_waiting:
            self._gate_opens = time.monotonic() + wait
            asyncio.get_running_loop().call_later(wait, self._shift.turn)

    async def ask_gate(self) -> None:
        """Ask whether the queue is still paused: who holds no message hears of it in no round."""
        gate = (await self._step((), ())).gate
        self._paused = gate.paused
        self._gate_opens = time.monotonic() + (0.5 if gate.paused else gate.wait)
