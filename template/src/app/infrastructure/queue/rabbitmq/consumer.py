"""Take the jobs of one queue from its lanes, run them in slots, and settle each.

Two tasks, the conductors, take turns. In one round trip to Redis a conductor settles the jobs that
have ended and claims those that places are free for; then it acknowledges the first and lets the
others start. While it waits for the answer more come together, so the busier a worker is, the more
jobs share a round trip; and while one waits for Redis, the jobs of the other one run.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from uuid import uuid4

from aiormq import Channel
from loguru import logger

from app.core.errors import AppError
from app.infrastructure.queue.engine import GiveBack, JobRunner, Retry, Verdict
from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.queue.jobs import DeadReason, JobFailure
from app.infrastructure.queue.locks import LockKeeper
from app.infrastructure.queue.options import PRIORITIES
from app.infrastructure.queue.patience import Patience, Pulse
from app.infrastructure.queue.rabbitmq.lanes import Lane, LaneParts, Message
from app.infrastructure.queue.rabbitmq.line import Line
from app.infrastructure.queue.rabbitmq.publisher import Publisher
from app.infrastructure.queue.rabbitmq.records import (
    Addition,
    Claim,
    Gate,
    Records,
    Settled,
    Settlement,
    Step,
    now_ms,
)
from app.infrastructure.queue.rabbitmq.topology import (
    UNIT,
    declare_graveyard,
    declare_lane,
    graveyard,
)
from app.infrastructure.queue.rabbitmq.topology import lane as lane_name
from app.infrastructure.queue.rabbitmq.wire import (
    Arrival,
    Parcel,
    delivery_of,
    milliseconds,
)
from app.infrastructure.queue.redis_scripts import Commands

LAST_SECONDS = 2.0
"""Of the grace, kept for giving back what is still running."""
AHEAD = 16
"""Messages taken ahead of free places at least, where jobs are short: the next one is here when one
is done. Where they are long, none is: another worker may have a place for it."""
SHORT, LONG = 0.02, 0.05
"""Seconds. Jobs are short if they take less than the first on average, and long again above the
second."""
WEIGHT = 0.05
"""Of the latest job in that average."""
CONDUCTORS = 2
HOLD = 1.0
"""Seconds messages may wait here while no place becomes free: then they go back to the broker, for
another worker that has one."""
LONGEST_INTERVAL = 3.0
"""Seconds between looks at what runs, and at the broker."""
PARK_AFTER = 60.0
"""Seconds after which a running job's message is exchanged for one that comes later, since the
broker closes the channel of who holds a message too long (consumer_timeout, 30 minutes)."""
EARLIEST = 4 * UNIT / 1000
"""Seconds. A message that is due within them waits here; others go down the ladder again."""
MARGIN = 0.25
"""Seconds added to the lock of another worker before a job it may have lost is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerParts:
    """What a consumer works with."""

    queue: str
    namespace: str
    group: int
    line: Line
    """A connection of its own."""
    records: Records
    publisher: Publisher
    connect: Callable[[], Commands]
    """Makes the connection of the thread that keeps the lock."""
    runner: JobRunner
    concurrency: int
    lock: float
    """Seconds this worker keeps its jobs without being heard of."""
    ended_channel: str
    """Begins the channels on which it is told that a job has ended."""
    listen: Callable[[], Awaitable[None]]
    """Makes this process hear of cancelled jobs."""
    resend: Callable[[str, str], Awaitable[None]]
    """Sends the message of a job, given queue and id."""
    tick: Callable[[], Awaitable[float]]
    """Does what is due by schedule; returns the seconds until it wants to be called again."""


@dataclass(slots=True)
class _Running:
    """A job that was claimed."""

    message: Message
    claim: Claim
    since: float = field(default_factory=time.monotonic)
    parked: bool = False
    """Its message went back to the broker, and comes again."""
    verdict: Verdict | None = None


class RabbitmqConsumer:
    """See `Consumer`."""

    def __init__(self, parts: ConsumerParts) -> None:
        """Prepare; nothing is taken yet."""
        self._parts = parts
        self._queue = parts.queue
        self._records = parts.records
        self._worker = uuid4().hex
        self._locks = LockKeeper(self._renew, parts.connect, parts.lock, lambda _job: None)
        self._early: list[tuple[int, int, Message]] = []
        self._order = count()
        self._running: dict[str, _Running] = {}
        self._settling: list[_Running] = []
        self._ready: deque[_Running] = deque()
        self._places: deque[asyncio.Future[None]] = deque()
        self._free = parts.concurrency
        self._claiming = 0
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._gone = asyncio.Event()
        self._gate_opens = 0.0
        self._paused = False
        self._pulse = Pulse()
        self._moved = time.monotonic()
        self._pace = LONG
        self._ahead = 0
        self._released = False
        self._lanes = [self._lane(priority) for priority in PRIORITIES]
        self._graveyard = self._dead_lane()
        self._tasks: list[asyncio.Task[None]] = []
        self._errands: set[asyncio.Task[None]] = set()

    # --- starting, stopping, health ---------------------------------------------------------

    async def start(self) -> None:
        """See `Consumer.start`."""
        await self._parts.listen()
        await self._records.renew_now(self._worker)
        self._locks.start()
        await self._connect()
        slots = [self._slot() for _ in range(self._parts.concurrency)]
        conductors = [self._conduct() for _ in range(CONDUCTORS)]
        for work in (*slots, *conductors, self._look_after(), self._keep_schedules()):
            self._tasks.append(asyncio.create_task(work, name=f"jobs of {self._queue}"))

    def is_alive(self) -> bool:
        """See `Consumer.is_alive`."""
        return not self._pulse.is_silent and not any(task.done() for task in self._tasks)

    async def stop(self, grace: float) -> Sequence[str]:
        """See `Consumer.stop`."""
        until = time.monotonic() + grace
        self._closing.set()
        self._turn()
        await self._give_back_unstarted(min(1.0, grace / 4))
        await self._drained(max(until - time.monotonic() - min(LAST_SECONDS, grace / 2), 0.0))
        left = list(self._running)
        for job_id in left:
            self._parts.runner.give_back(job_id)
        # Those that do not heed it: a thread, or a handler that swallows its cancellation.
        await self._drained(max((until - time.monotonic()) / 2, 0.0))
        for running in self._running.values():
            if running.verdict is None:
                self._settle(running, GiveBack())
        await self._drained(max(min(until - time.monotonic(), 1.0), 0.2))
        self._gone.set()
        self._turn()
        await self._end()
        return left

    async def _give_back_unstarted(self, seconds: float) -> None:
        """Let other workers have what waits here, unless the broker does not listen."""
        releasing = asyncio.ensure_future(self._release())
        await asyncio.wait((releasing,), timeout=seconds)
        releasing.cancel()

    async def _drained(self, seconds: float) -> None:
        """Wait until nothing runs and everything is settled, at most so long."""
        until = time.monotonic() + seconds
        while (self._running or self._errands) and time.monotonic() < until:  # noqa: ASYNC110 - of many ends
            await asyncio.sleep(0.01)

    async def _end(self) -> None:
        self._acknowledge()
        for task in (*self._tasks, *self._errands):
            task.cancel()
        pending = (*self._tasks, *self._errands)
        if pending:
            await asyncio.wait(pending, timeout=1.0)
        # What was not started goes back with the channel.
        await self._parts.line.close()
        await self._locks.stop()
        with suppress(QueueUnavailableError):
            await self._records.resign(self._worker)

    async def _renew(self, commands: Commands, _held: object) -> list[str]:
        await self._records.renew(commands, self._worker)
        return []

    # --- the broker -------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Open the lanes that are not.

        Raises:
            QueueUnavailableError: none can be.
            ConfigurationError: a queue is declared otherwise.
        """
        before = [lane.is_open for lane in self._lanes]
        opened = [await lane.open() for lane in (*self._lanes, self._graveyard)]
        if before != opened[:-1]:
            self._released = False  # a lane that is opened is subscribed to
        if not any(opened):
            self._parts.line.drop()
            message = f"no lane of {self._queue} can be read"
            raise QueueUnavailableError(message)

    def _lane(self, priority: int) -> Lane:
        parts = self._parts
        name = lane_name(parts.namespace, parts.queue, priority)

        async def declare(channel: Channel) -> None:
            await declare_graveyard(channel, parts.namespace, parts.queue, parts.group)
            await declare_lane(channel, parts.namespace, parts.queue, priority, parts.group)

        return Lane(
            LaneParts(
                queue=parts.queue,
                name=name,
                tag=f"{name}:{self._worker}",
                line=parts.line,
                declare=declare,
                prefetch=lambda: parts.concurrency + self._ahead,
                came=self._turn,
            )
        )

    def _dead_lane(self) -> Lane:
        """Return what reads the messages the broker has given up: they are dead for us as well."""
        parts = self._parts
        name = graveyard(parts.namespace, parts.queue)

        def came() -> None:
            while self._graveyard.buffer:
                self._errand(self._bury(self._graveyard.buffer.popleft()))

        return Lane(
            LaneParts(
                queue=parts.queue,
                name=name,
                tag=f"{name}:{self._worker}",
                line=parts.line,
                declare=lambda channel: declare_graveyard(
                    channel, parts.namespace, parts.queue, parts.group
                ),
                prefetch=lambda: AHEAD,
                came=came,
            )
        )

    async def _bury(self, message: Message) -> None:
        headers = message.headers or {}
        why = str(headers.get("x-first-death-reason") or "given up by RabbitMQ")
        failure = JobFailure(type="GivenUp", message=f"RabbitMQ gave the message up: {why}")
        await self._record(message)
        _, woken = await self._records.bury(
            self._queue,
            message.arrival.id,
            DeadReason.STALLED,
            failure,
            self._parts.ended_channel,
        )
        message.done()
        message.lane.acknowledge()
        for queue, job_id in woken:
            await self._parts.resend(queue, job_id)

    def _acknowledge(self) -> None:
        """Tell the broker what is done."""
        for lane in self._lanes:
            lane.acknowledge()

    # --- the conductor ----------------------------------------------------------------------

    def _turn(self) -> None:
        self._wake.set()

    async def _conduct(self) -> None:
        """Settle and claim, until everything is settled and nothing more is taken."""
        patience = Patience(f"Jobs of {self._queue}")
        while not self._gone.is_set():
            await self._wake.wait()
            self._wake.clear()
            await self._rounds(patience)

    async def _rounds(self, patience: Patience) -> None:
        while not self._gone.is_set():
            settling, self._settling = self._settling, []
            claiming = self._pick()
            self._claiming += len(claiming)
            if not settling and not claiming:
                return
            try:
                step = await self._ask(settling, claiming)
            except QueueUnavailableError as error:
                # Asked again as it is: what Redis may have done already it tells again.
                self._settling = settling + self._settling
                self._put_back(claiming)
                await patience.pause(error)
                continue
            except Exception:  # noqa: BLE001 - whatever it was: nobody else would go on here
                logger.exception("Jobs of {} can't be claimed or settled", self._queue)
                self._settling = settling + self._settling
                self._put_back(claiming)
                await asyncio.sleep(1.0)
                continue
            patience.answered()
            self._pulse.beat()
            if settling or any(claim.code == "run" for claim in step.claims):
                self._moved = time.monotonic()
            for running, settled in zip(settling, step.settled, strict=True):
                self._after(running, settled)
            for message, claim in zip(claiming, step.claims, strict=True):
                self._begin(message, claim)
            self._mind(step.gate)
            for queue, job_id in step.woken:
                self._errand(self._parts.resend(queue, job_id))
            self._acknowledge()

    async def _ask(self, settling: Sequence[_Running], claiming: Sequence[Message]) -> Step:
        settlements = [
            Settlement(
                r.message.arrival.id,
                r.verdict or GiveBack(),
                r.parked or not r.message.is_held,
            )
            for r in settling
        ]
        try:
            return await self._records.step(
                self._queue,
                self._worker,
                self._parts.ended_channel,
                [message.arrival for message in claiming],
                settlements,
            )
        finally:
            self._claiming -= len(claiming)

    def _pick(self) -> list[Message]:
        """Return the messages whose jobs could start now, the most urgent ones first."""
        if self._closing.is_set() or time.monotonic() < self._gate_opens:
            return []
        self._wake_early()
        picked: list[Message] = []
        room = self._free - len(self._ready) - self._claiming
        # Each conductor has its share, or one would take all there is and the other wait for it.
        room = min(room, max(self._parts.concurrency // CONDUCTORS, 1))
        for number, lane in enumerate(self._lanes):
            buffer = lane.buffer
            while buffer and len(picked) < room:
                message = buffer.popleft()
                if not message.arrival.due or not self._wait_for(message):
                    picked.append(message)
            if len(picked) >= room or self._may_have_more(number):
                break
        return picked

    def _may_have_more(self, number: int) -> bool:
        """Tell whether the lanes after this one have to wait for what it may still bring."""
        if not any(lane.buffer for lane in self._lanes[number + 1 :]):
            return False
        left = self._lanes[number].may_have_more
        if left > 0:
            asyncio.get_running_loop().call_later(left, self._turn)
        return left > 0

    def _wait_for(self, message: Message) -> bool:
        """Keep back a message that is not due yet; False: it is."""
        ahead = message.arrival.due - time.time() * 1000
        if ahead <= 0:
            return False
        if ahead / 1000 > EARLIEST:
            self._errand(self._forward_again(message))
            return True
        heapq.heappush(self._early, (message.arrival.due, next(self._order), message))
        asyncio.get_running_loop().call_later(ahead / 1000, self._turn)
        return True

    def _wake_early(self) -> None:
        now = time.time() * 1000
        while self._early and self._early[0][0] <= now:
            _, _, message = heapq.heappop(self._early)
            if message.is_held:
                message.lane.buffer.appendleft(message)

    def _put_back(self, messages: Sequence[Message]) -> None:
        for message in reversed(messages):
            if message.is_held:
                message.lane.buffer.appendleft(message)

    def _begin(self, message: Message, claim: Claim) -> None:
        """Do what Redis says to a message."""
        arrival = message.arrival
        match claim.code:
            case "run":
                self._start(message, claim)
            case "mine":
                self._adopt(message, claim)
            case "drop":
                message.done()
            case "unknown":
                self._errand(self._introduce(message))
            case "held":
                wait = claim.number / 1000 + MARGIN
                self._errand(self._park(message, wait))
            case _:
                self._put_back([message])
                logger.trace("Job {} has to wait", arrival.id)

    def _start(self, message: Message, claim: Claim) -> None:
        running = _Running(message, claim)
        self._running[message.arrival.id] = running
        self._ready.append(running)
        if self._places:
            place = self._places.popleft()
            if not place.done():
                place.set_result(None)

    def _adopt(self, message: Message, claim: Claim) -> None:
        """A job of this worker came again: its channel was lost, or its message was parked."""
        running = self._running.get(message.arrival.id)
        if running is None:
            # Claimed before, and the answer was lost.
            self._start(message, claim)
        elif running.parked or not running.message.is_held:
            running.message, running.parked = message, False
            running.since = time.monotonic()
        elif running.message is not message:
            message.done()  # one of two

    def _mind(self, gate: Gate) -> None:
        """Wait as long as the queue's limits or a pause want."""
        self._paused = gate.paused
        wait = 0.5 if gate.paused else gate.wait
        if wait and any(lane.buffer for lane in self._lanes):
            self._gate_opens = time.monotonic() + wait
            asyncio.get_running_loop().call_later(wait, self._turn)

    def _after(self, running: _Running, settled: Settled) -> None:
        """Let the broker know of a settlement."""
        message, verdict = running.message, running.verdict
        job_id = message.arrival.id
        if self._running.get(job_id) is running:
            del self._running[job_id]
        if not settled.ours:
            logger.warning("Job {} was no longer this worker's when it ended", job_id)
        match verdict:
            case Retry() if settled.ours:
                self._errand(self._forward(running, settled.turn, verdict))
            case Retry() | GiveBack() if message.is_held and not running.parked:
                message.lane.give_back([message])
            case GiveBack() if settled.ours:
                self._errand(self._forward(running, settled.turn, verdict))
            case _:
                message.done()

    # --- places -----------------------------------------------------------------------------

    async def _slot(self) -> None:
        """One of `concurrency` places: runs jobs one after the other."""
        while True:
            while not self._ready:
                place = asyncio.get_running_loop().create_future()
                self._places.append(place)
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
                self._settle(running, verdict)

    def _settle(self, running: _Running, verdict: Verdict) -> None:
        running.verdict = verdict
        self._settling.append(running)
        self._wake.set()

    async def _run(self, running: _Running) -> Verdict:
        """Run a job, whatever comes: a place that ends would never be filled again."""
        if self._closing.is_set():
            return GiveBack()
        claim = running.claim
        try:
            delivery = delivery_of(
                running.message.arrival, self._queue, claim.history or {}, claim.number, self
            )
            return await self._parts.runner.run(delivery)
        except QueueUnavailableError as error:
            logger.warning("Job {} goes back: {}", running.message.arrival.id, error)
        except Exception:  # noqa: BLE001 - see above
            logger.exception("Job {} goes back", running.message.arrival.id)
        await asyncio.sleep(1.0)
        return GiveBack()

    # --- what the executor asks for: `DeliveryHooks` ------------------------------------------

    async def progress(self, job_id: str, value: object) -> None:
        """See `DeliveryHooks`."""
        await self._records.progress(self._queue, job_id, value)

    async def children_results(self, job_id: str) -> dict[str, object]:
        """See `DeliveryHooks`."""
        return await self._records.children_results(self._queue, job_id)

    async def set_aside(self, job_id: str) -> None:
        """See `DeliveryHooks`."""
        await self._records.set_aside(self._queue, job_id)

    async def mark_alone(self, job_id: str) -> None:
        """See `DeliveryHooks`."""
        await self._records.mark_alone(self._queue, job_id)

    # --- errands: what takes time, and nobody waits for ---------------------------------------

    def _errand(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._guarded(work))
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except AppError as error:
            # Nothing is lost: the message was not acknowledged, or is noted as unsent.
            logger.debug("Left for later: {}", error)
        except Exception:  # noqa: BLE001 - it would be told nowhere
            logger.exception("An errand of {} failed", self._queue)

    async def _introduce(self, message: Message) -> None:
        """Record a job Redis does not know: somebody else's, or Redis has lost its memory."""
        try:
            await self._record(message)
        except QueueUnavailableError:
            await asyncio.sleep(0.5)
            raise
        finally:
            self._put_back([message])
            self._turn()

    async def _record(self, message: Message) -> None:
        parcel, arrival = parcel_of(self._queue, message.arrival), message.arrival
        message.arrival = replace(arrival, id=parcel.id)
        await self._records.add([Addition(parcel=parcel, sent=True)])

    async def _send(self, parcel: Parcel, then: Message | None) -> None:
        """Send a message in place of one that is held, until the broker has it."""
        patience = Patience(f"Message of job {parcel.id}")
        while not self._gone.is_set():
            try:
                await self._parts.publisher.send([parcel])
            except QueueUnavailableError as error:
                if then is not None and not then.is_held:
                    return  # it comes again by itself
                await patience.pause(error)
                continue
            break
        if then is not None:
            then.done()
            then.lane.acknowledge()

    async def _forward(self, running: _Running, turn: int, verdict: Retry | GiveBack) -> None:
        """Send the next message of a job, in place of the one that brought it."""
        due = 0
        if isinstance(verdict, Retry) and (pause := milliseconds(verdict.after)) > 0:
            due = now_ms() + pause
        parcel = replace(parcel_of(self._queue, running.message.arrival), turn=turn, due=due)
        await self._send(parcel, running.message)

    async def _forward_again(self, message: Message) -> None:
        """Send a message down the ladder once more: its delay is longer than one go."""
        await self._send(parcel_of(self._queue, message.arrival), message)

    async def _park(self, message: Message, seconds: float) -> None:
        """Let a message come again later: its job is in other hands."""
        parcel = parcel_of(self._queue, message.arrival)
        due = now_ms() + round(seconds * 1000)
        await self._send(replace(parcel, due=due), message)

    # --- now and then -------------------------------------------------------------------------

    async def _look_after(self) -> None:
        """Connect again when a line is lost, and see that nothing is forgotten."""
        patience = Patience(f"Consumer of {self._queue}")
        interval = min(self._parts.lock / 3, LONGEST_INTERVAL)
        checked = 0.0
        while not self._gone.is_set():
            try:
                if not self._closing.is_set():
                    await self._connect()
                    await self._release_or_subscribe()
                if time.monotonic() - checked > interval:
                    checked = time.monotonic()
                    await self._check()
                patience.answered()
            except AppError as error:
                await patience.pause(error)
                continue
            except Exception:  # noqa: BLE001 - nobody else would look
                logger.exception("The consumer of {} could not be looked after", self._queue)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), 0.1)

    async def _check(self) -> None:
        cancelled, lost = await self._records.look_at_running(
            self._queue, self._worker, list(self._running)
        )
        for job_id in cancelled:
            self._parts.runner.cancel(job_id)
        for job_id in lost:
            logger.error("Job {} is another worker's by now: this one stops", job_id)
            self._parts.runner.give_back(job_id)
        for parcel in await self._records.unsent(self._queue, 2 * self._parts.lock):
            logger.warning("Job {} may never have reached RabbitMQ: sent again", parcel.id)
            await self._parts.publisher.send([parcel])
        now = time.monotonic()
        for running in list(self._running.values()):
            if now - running.since > PARK_AFTER and not running.parked:
                await self._park_running(running)
        await self._probe()
        self._pulse.beat()

    async def _park_running(self, running: _Running) -> None:
        """Exchange the message of a long job for one that comes later."""
        if not running.message.is_held:
            return
        await self._records.park(self._queue, running.message.arrival.id)
        running.parked = True
        await self._park(running.message, self._parts.lock + MARGIN)

    async def _probe(self) -> None:
        """Ask the broker whether it still knows this consumer: a connection alone says little."""
        if self._closing.is_set():
            return
        for lane in self._lanes:
            await lane.probe()
        if not any(lane.is_open for lane in self._lanes):
            self._parts.line.drop()
            message = f"no lane of {self._queue} answers"
            raise QueueUnavailableError(message)

    async def _release_or_subscribe(self) -> None:
        """Give back what waits here too long; take again once there is a place for it."""
        held_up = self._paused or time.monotonic() < self._gate_opens
        if not self._released:
            for lane in self._lanes:  # one may have been opened anew while all were paused
                if lane.is_open and not lane.is_subscribed:
                    await lane.resume()
            waits = any(lane.buffer for lane in self._lanes) and (self._free <= 0 or held_up)
            if waits and time.monotonic() - self._moved > HOLD:
                await self._release()
            elif self._ahead != (wanted := self._wanted_ahead()):
                self._ahead = wanted
                for lane in self._lanes:
                    await lane.pause()
                    await lane.resume()
        elif self._paused:
            gate = (await self._step_of_gate()).gate
            self._paused = gate.paused
            self._gate_opens = time.monotonic() + (0.5 if gate.paused else gate.wait)
        elif self._free > 0 and not held_up:
            self._released = False
            for lane in self._lanes:
                await lane.resume()
            self._moved = time.monotonic()

    async def _release(self) -> None:
        """Take nothing more, and give back what was not started."""
        self._released = True
        waiting = [message for _, _, message in self._early]
        self._early.clear()

        async def release(lane: Lane) -> None:
            await lane.pause()
            mine = [*lane.buffer, *(message for message in waiting if message.lane is lane)]
            lane.buffer.clear()
            lane.give_back(mine)

        await asyncio.gather(*(release(lane) for lane in self._lanes))

    def _wanted_ahead(self) -> int:
        """Return how many messages are to wait here: see `AHEAD`."""
        if self._pace < SHORT:
            return max(self._parts.concurrency, AHEAD)
        return 0 if self._pace > LONG else self._ahead

    async def _step_of_gate(self) -> Step:
        return await self._records.step(
            self._queue, self._worker, self._parts.ended_channel, (), ()
        )

    async def _keep_schedules(self) -> None:
        """Do what is due by schedule."""
        patience = Patience(f"Schedules of {self._queue}")
        while not self._closing.is_set():
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
                await asyncio.wait_for(self._closing.wait(), pause)


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
    )
