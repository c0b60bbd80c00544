"""Handle the events of the group: each in one of its processes."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Sequence
from typing import Any

from loguru import logger
from redis.exceptions import ResponseError

from app.core.events import Envelope, InvalidEventError
from app.core.tasks import end
from app.infrastructure.event_bus.ports import Handle
from app.infrastructure.event_bus.settings import EventBusSettings
from app.infrastructure.event_bus_redis.streams import EVENT, Entry, Link, dead_fields, entries
from app.infrastructure.redis import REDIS_ERRORS

LONGEST_PAUSE = 5.0
"""Seconds between two tries to reach the server."""
FORGET_AFTER = 3600.0
"""Seconds after which a process that is gone, and has nothing, is forgotten."""
MOST_LEFT = 10_000
"""Entries given back at the end: more than one process can have in hand."""
FIRST = "0-0"
GIVEN_BACK = 2**31
"""Ms an entry that is given back says it was idle: anybody may have it at once."""


class Consumer:
    """Takes entries, has them handled, acknowledges them. See `Transport`."""

    def __init__(self, link: Link, settings: EventBusSettings, handle: Handle) -> None:
        """Prepare.

        Args:
            link: the server.
            settings: how many at a time, and how patient.
            handle: calls the handlers.
        """
        self._link = link
        self._redis = link.redis
        self._streams = link.streams
        self._settings = settings
        self._handle = handle
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._room = asyncio.Semaphore(settings.event_bus_concurrency)
        self._held: dict[str, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._cleaned = 0.0
        self._cursor = FIRST
        self._stopping = False

    def start(self) -> None:
        """Begin."""
        steps = {"read": self._read, "keep": self._keep, "reclaim": self._reclaim}
        self._loops = [
            asyncio.create_task(self._for_ever(step), name=f"events: {name}")
            for name, step in steps.items()
        ]

    async def stop(self, grace: float) -> None:
        """Read no more, wait for handlers, give back what they have not ended."""
        if not self._loops:
            return
        self._stopping = True
        reading, keeping, reclaiming = self._loops
        await end(reading, reclaiming)
        if self._held:
            await asyncio.wait(self._held.values(), timeout=grace)
        await end(keeping, *self._held.values())
        self._loops = []
        try:
            await self._leave()
        except REDIS_ERRORS as error:
            logger.warning("Events are given back later: {}", type(error).__name__)

    async def _leave(self) -> None:
        """Let others have what is left at once; a consumer without entries is forgotten.

        The server knows of more than is held here: what it gave when reading was cancelled, what
        waited for room, what could not be acknowledged.
        """
        group = (self._streams.events, self._streams.group)
        pending = await self._redis.xpending_range(*group, "-", "+", MOST_LEFT, self.name)
        if not pending:
            await self._redis.xgroup_delconsumer(*group, self.name)
            return
        logger.warning("{} events are given back", len(pending))
        await self._claim_own([item["message_id"] for item in pending], GIVEN_BACK)

    async def _for_ever(self, step: Any) -> None:
        pause = 0.0
        while not self._stopping:
            try:
                await step()
                pause = 0.0
            except ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    logger.error("Redis refuses to give events: {}", error)
                    pause = LONGEST_PAUSE
                else:  # the server has lost its data, and what came since is for us
                    await self._make_group()
            except Exception as error:  # noqa: BLE001 - redis-py's own faults too: it goes on
                if not pause:
                    logger.warning("Events can't be read, trying on: {}", type(error).__name__)
                pause = min(max(pause * 2, 0.1), LONGEST_PAUSE)
            if pause:
                await asyncio.sleep(pause)

    async def _make_group(self) -> None:
        try:
            await self._link.make_group("0")
        except REDIS_ERRORS as error:
            logger.warning("The group of events can't be made: {}", type(error).__name__)
            await asyncio.sleep(LONGEST_PAUSE)

    async def _read(self) -> None:
        await self._room.acquire()
        self._room.release()
        free = self._settings.event_bus_concurrency - len(self._held)
        answer = await self._link.blocking.xreadgroup(
            self._streams.group,
            self.name,
            {self._streams.events: ">"},
            count=max(free, 1),
            block=round(self._link.block * 1000),
        )
        for entry in entries(answer):
            await self._hold(entry)

    async def _keep(self) -> None:
        """Say that we are still at what we hold: nobody takes it."""
        await asyncio.sleep(self._settings.event_bus_claim_idle / 4)
        if self._held:
            await self._claim_own(list(self._held), 0)
        if time.monotonic() - self._cleaned > FORGET_AFTER:
            self._cleaned = time.monotonic()
            await self._forget_the_dead()

    async def _reclaim(self) -> None:
        """Take what the dead have left, one by one.

        It may be what they have died of: it runs with nothing beside it, so that only its own
        number of starts grows should it happen again.
        """
        idle = round(self._settings.event_bus_claim_idle * 1000)
        answer = await self._redis.xautoclaim(
            self._streams.events,
            self._streams.group,
            self.name,
            idle,
            start_id=self._cursor,
            count=1,
        )
        self._cursor = str(answer[0])
        for gone in answer[2] if len(answer) > 2 else ():  # noqa: PLR2004 - since Redis 7
            logger.error("Event {} was trimmed before it was handled", gone)
        claimed = [entry for entry in answer[1] if entry[0] and entry[0] not in self._held]
        for entry in claimed:
            await self._alone(entry)
        if not claimed and self._cursor == FIRST:
            await asyncio.sleep(self._settings.event_bus_claim_idle / 4)

    async def _alone(self, entry: Entry) -> None:
        taken = 0
        try:
            for _ in range(self._settings.event_bus_concurrency):
                # While we wait for the others: it is ours.
                await self._claim_own([entry[0]], 0)
                await self._room.acquire()
                taken += 1
            task = self._begin(entry, await self._starts(entry[0]))
            await asyncio.wait([task])
        finally:
            for _ in range(taken):
                self._room.release()

    async def _claim_own(self, ids: Sequence[str], idle: int) -> None:
        await self._redis.xclaim(
            self._streams.events,
            self._streams.group,
            self.name,
            min_idle_time=0,
            message_ids=list(ids),
            idle=idle,
            justid=True,
        )

    async def _starts(self, stream_id: str) -> int:
        found = await self._redis.xpending_range(
            self._streams.events, self._streams.group, stream_id, stream_id, 1
        )
        return int(found[0]["times_delivered"]) if found else 1

    async def _forget_the_dead(self) -> None:
        found = await self._redis.xinfo_consumers(self._streams.events, self._streams.group)
        for item in found:
            if not item["pending"] and item["idle"] > FORGET_AFTER * 1000:
                await self._redis.xgroup_delconsumer(
                    self._streams.events, self._streams.group, item["name"]
                )

    async def _hold(self, entry: Entry) -> None:
        await self._room.acquire()
        self._begin(entry, 1).add_done_callback(lambda _: self._room.release())

    def _begin(self, entry: Entry, starts: int) -> asyncio.Task[None]:
        stream_id = entry[0]
        task = asyncio.create_task(self._one(entry, starts), name=f"event {stream_id}")
        self._held[stream_id] = task
        task.add_done_callback(lambda _: self._held.pop(stream_id, None))
        return task

    async def _one(self, entry: Entry, starts: int) -> None:
        stream_id, fields = entry
        body = (fields or {}).get(EVENT, "")
        try:
            dead = await self._outcome(body, starts)
        except Exception as error:  # noqa: BLE001 - of ours; the entry comes again
            logger.opt(exception=error).error("Event {} could not be handled", stream_id)
            return
        for pause in (0.1, 0.5, 2.0, None):
            try:
                await self._done(stream_id, dead)
            except REDIS_ERRORS as error:
                if pause is None:
                    logger.error("Event {} comes again: {}", stream_id, type(error).__name__)
                    return
                await asyncio.sleep(pause)
            else:
                return

    async def _outcome(self, body: str, starts: int) -> list[dict[str, str | int]]:
        """Have an event handled; return what is to be written into the dead stream."""
        try:
            envelope = Envelope.from_json(body.encode("utf-8", "replace"))
        except InvalidEventError as error:
            logger.error("What came is {}", error)
            return [dead_fields(body, str(error))]
        if starts > self._settings.event_bus_deliveries:
            reason = f"{starts - 1} processes have died of it"
            logger.error("{} is dead: {}", envelope, reason)
            return [dead_fields(body, reason, attempts=starts - 1)]
        failures = await self._handle(envelope)
        return [dead_fields(body, f.error, f.handler, f.attempts) for f in failures]

    async def _done(self, stream_id: str, dead: Sequence[dict[str, str | int]]) -> None:
        """Acknowledge. Dead first: a crash between leaves it twice rather than nowhere.

        One by one: a server without memory refuses to write, and would still acknowledge.
        """
        for fields in dead:
            await self._redis.xadd(self._streams.dead, fields, maxlen=self._streams.dead_window)
        await self._redis.xack(self._streams.events, self._streams.group, stream_id)
