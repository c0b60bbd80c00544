"""Short messages between processes over Redis: a job has ended, a job is to be cancelled.

Word of an end goes to the channel of the job. A process that waits for results has a channel of its
own as well, and names it in the jobs it publishes: then it need not subscribe for each of them.

A message can be lost with a connection, so nobody relies on one: who waits for the end of a job
looks once after subscribing, after each reconnect, and now and then; a worker looks as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

from loguru import logger
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.core.tasks import end
from app.infrastructure.queue.jobs import Job, JobRecord
from app.infrastructure.redis import REDIS_ERRORS, KeySpace

PAUSES = (0.05, 0.2, 1.0)
"""Seconds between attempts to reconnect; the last one holds from then on."""
NEVER_AGAIN = Retry(NoBackoff(), 0, supported_errors=())
"""Else redis-py connects again by itself, in the reader and in who subscribes meanwhile: both on
one connection, and each closes it while the other greets the server."""
LONGEST_CONFIRM = 1.0
"""Seconds Redis has to confirm a subscription."""
REPLY_TO = "reply-to"
"""Header of a job: the channel of the process that published it."""
Cancelled = Callable[[str, str], None]
"""Called with the queue and the id of a job somebody cancelled."""


RESULT = "="
"""Begins what is said of a completed job whose result is small; that follows as JSON text."""
MOST_EXPECTED = 1000
"""Jobs published last, of which it is known that their end will be told here."""
LONGEST_RESULT = 16_384
"""Bytes of a result that is said; larger ones are looked up by who wants them."""


def reply_to(job: Job | None) -> str:
    """Return the channel of the process that waits for a job, or nothing."""
    return job.headers.get(REPLY_TO, "") if job else ""


class Topic:
    """A channel somebody in this process listens to."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self.subscribed = False
        """Whether it has a subscription of its own; else word comes over the process's channel."""
        self.confirmed = asyncio.Event()
        self.woken = asyncio.Event()
        """Something was said, or may have been: look. Cleared by any of those who wait."""
        self.told = 0
        """How often that was so: who looks meanwhile knows by it to look again."""
        self.result: str | None = None
        """JSON text, if that was said."""
        self.listeners = 0

    def tell(self) -> None:
        """Wake all who wait."""
        self.told += 1
        self.woken.set()


class Signals:
    """One subscriber connection per process, made when it is first needed."""

    def __init__(self, redis: Redis, keys: KeySpace) -> None:
        """Send and receive over `redis`."""
        self._redis = redis
        self._keys = keys
        self._topics: dict[str, Topic] = {}
        self._reader: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        """Somebody began or ceased to listen."""
        self._on_cancel: list[Cancelled] = []
        self.cancel_channel = keys("jobs", "cancel")
        self._reply_channel = keys("jobs", "replies", uuid4().hex)
        self._expected: dict[str, None] = {}

    def ended_channel(self, queue: str, job_id: str) -> str:
        """Return the channel on which a worker says that a job has ended."""
        return self._keys("jobs", "ended", queue, job_id)

    def addressed(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Return jobs with the channel of this process, if it is one that waits for results."""
        if not self.takes_replies:
            return jobs
        reply = {REPLY_TO: self._reply_channel}
        for job in jobs:
            self._expected[self.ended_channel(job.queue, job.id)] = None
        while len(self._expected) > MOST_EXPECTED:
            del self._expected[next(iter(self._expected))]
        return [replace(job, headers={**job.headers, **reply}) for job in jobs]

    def is_addressed(self, record: JobRecord) -> bool:
        """Tell whether word of the end of a job comes to the channel of this process."""
        return record.headers.get(REPLY_TO) == self._reply_channel and self.takes_replies

    def expects(self, queue: str, job_id: str) -> bool:
        """Tell whether a job was published here lately, and nothing was said of it yet.

        Its end will be told, unless it was published before, or a message is lost.
        """
        return self.ended_channel(queue, job_id) in self._expected

    @property
    def takes_replies(self) -> bool:
        """Whether this process has a channel of its own: it waits for results."""
        topic = self._topics.get(self._reply_channel)
        return topic is not None and topic.confirmed.is_set()

    @contextmanager
    def job_ended(self, queue: str, job_id: str) -> Iterator[Topic]:
        """Yield what is woken when the job may have ended.

        Jobs that are not addressed to this process need `listen` as well.
        """
        channel = self.ended_channel(queue, job_id)
        topic = self._topics.setdefault(channel, Topic())
        topic.listeners += 1
        try:
            yield topic
        finally:
            topic.listeners -= 1
            if not topic.listeners:
                self._topics.pop(channel)
                if topic.subscribed:
                    self._changed.set()

    async def listen(self, queue: str, job_id: str) -> None:
        """Subscribe to word of a job within `job_ended`, and from now on to this process's own."""
        channel = self.ended_channel(queue, job_id)
        topic = self._topics[channel]
        if not topic.subscribed:
            channels = [channel]
            if self._reply_channel not in self._topics:
                self._topics[self._reply_channel] = Topic()
                channels.append(self._reply_channel)
            self._subscribe(*channels)
        await self._confirmed(topic)

    async def listen_for_cancels(self, told: Cancelled) -> None:
        """Call `told` for each job that is cancelled from now on."""
        self._on_cancel.append(told)
        if len(self._on_cancel) == 1:
            self._topics[self.cancel_channel] = Topic()
            self._subscribe(self.cancel_channel)
            await self._confirmed(self._topics[self.cancel_channel])

    async def tell_cancelled(self, queue: str, job_id: str) -> None:
        """Tell all workers that a job is to be cancelled."""
        await self._redis.publish(self.cancel_channel, f"{queue}:{job_id}")

    async def stop(self) -> None:
        """Disconnect."""
        if self._reader:
            await end(self._reader)

    async def _confirmed(self, topic: Topic) -> None:
        # Not `wait_for`: before Python 3.12 it loses a cancellation that comes with the event.
        with suppress(TimeoutError):  # then whoever waits has to look by itself
            async with asyncio.timeout(LONGEST_CONFIRM):
                await topic.confirmed.wait()

    def _subscribe(self, *channels: str) -> None:
        for channel in channels:
            self._topics[channel].subscribed = True
        self._changed.set()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="job signals")

    async def _read(self) -> None:
        failures = 0
        while True:
            try:
                async with self._connected() as (line, writer):
                    while not writer.done():  # else nobody would subscribe
                        message = await line.get_message(timeout=None)
                        failures = 0
                        if message:
                            self._take(message)
            except REDIS_ERRORS as error:
                logger.debug("No word of jobs: {}", error)
            except Exception as error:  # noqa: BLE001 - without a reader nobody hears anything
                logger.opt(exception=error).error("No word of jobs for a moment")
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[Any, asyncio.Task[None]]]:
        """Yield a connection, and the task that subscribes it to what somebody listens to."""
        line = await self._line()
        try:
            await line.connect()
            connection, retry = line.connection, line.connection.retry
            # Else the writer does, for one that was idle, and reads what the reader waits for.
            await connection.check_health()
            connection.retry = NEVER_AGAIN
            writer = asyncio.create_task(self._write(line), name="job subscriptions")
            try:
                yield line, writer
            finally:
                await end(writer)
                connection.retry = retry
        finally:
            with suppress(*REDIS_ERRORS):
                await line.aclose()

    async def _line(self) -> Any:
        """Return what is not connected yet; in a cluster, to any node: all say what one is told."""
        redis: Any = self._redis
        if not isinstance(redis, RedisCluster):
            return redis.pubsub()
        await redis.initialize()
        return redis.pubsub(node=redis.get_random_node())

    async def _write(self, line: Any) -> None:
        """Subscribe to what is listened to, and leave what no longer is.

        In a task of its own: who waits for a job may be cancelled, and redis-py closes a connection
        when that happens while a command is sent.
        """
        asked: dict[str, Topic] = {}
        try:
            while True:
                self._changed.clear()
                wanted = {name: topic for name, topic in self._topics.items() if topic.subscribed}
                # A topic left and listened to again waits for a confirmation of its own.
                if new := [name for name, topic in wanted.items() if asked.get(name) is not topic]:
                    await line.subscribe(*new)
                if old := [name for name in asked if name not in wanted]:
                    await line.unsubscribe(*old)
                asked = wanted
                await self._changed.wait()
        except Exception as error:  # noqa: BLE001 - the reader notices, and begins anew
            logger.debug("Subscribing failed: {}", error)
            await line.connection.disconnect(nowait=True)

    def _take(self, message: dict[str, Any]) -> None:
        channel, said = message["channel"], str(message["data"])
        if message["type"] == "message" and channel == self._reply_channel:
            channel, _, said = said.partition("\n")
            self._expected.pop(channel, None)
        topic = self._topics.get(channel)
        if message["type"] == "subscribe" and topic:
            topic.confirmed.set()
            topic.tell()
            if channel == self._reply_channel:
                self._look()
        elif message["type"] == "message" and channel == self.cancel_channel:
            queue, _, job_id = said.partition(":")
            for told in self._on_cancel:
                told(queue, job_id)
        elif message["type"] == "message" and topic:
            if said.startswith(RESULT):
                topic.result = said.removeprefix(RESULT)
            topic.tell()

    def _look(self) -> None:
        """Have everybody look: before this subscription something may have been said."""
        self._expected.clear()
        for topic in self._topics.values():
            topic.tell()
